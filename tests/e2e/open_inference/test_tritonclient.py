"""The unmodified tritonclient in every one of its calls, over HTTP and gRPC, blocking and asyncio."""

import json
import subprocess
import sys
from collections.abc import Callable
from importlib.metadata import version
from typing import Any

import numpy as np
import pytest

from tests import plain_http
from tests.e2e.client_table import ROW
from tests.e2e.open_inference import tritonclient_calls
from tests.e2e.services import RED, WAIT_S
from tests.process import Service

KINDS = ("http", "http.aio", "grpc", "grpc.aio")
CLIENT = f"tritonclient {version('tritonclient')}"
# Status codes of HTTP as gRPC has them.
GRPC = {
    "400": "StatusCode.INVALID_ARGUMENT",
    "401": "StatusCode.UNAUTHENTICATED",
    "404": "StatusCode.NOT_FOUND",
    "409": "StatusCode.FAILED_PRECONDITION",
    "501": "StatusCode.UNIMPLEMENTED",
    "504": "StatusCode.DEADLINE_EXCEEDED",
}
ERRORS = {
    "get_log_settings": "501",
    "update_log_settings": "501",
    "get_trace_settings": "501",
    "update_trace_settings": "501",
    "register_system_shared_memory": "501",
    "register_cuda_shared_memory": "501",
    "infer, unknown model": "404",
    "infer, unknown version": "404",
    "infer, unknown input": "400",
    "infer, no input": "400",
    "infer, wrong datatype": "400",
    "infer, wrong shape": "400",
    "infer, bad picture": "400",
    "infer, unknown output": "400",
    "infer, too late": "504",
    "infer, shared memory": "501",
    "get_model_metadata, unknown model": "404",
    "get_model_config, unknown model": "404",
    "get_inference_statistics, unknown model": "404",
    "load_model, no key": "401",
    "load_model, unknown model": "404",
    "load_model, config": "501",
    "unload_model, default model": "409",
}


@pytest.fixture(scope="module", params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def results(kind: str, service: Service, grpc_port: int, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    picture = tmp_path_factory.mktemp("picture") / "red.png"
    picture.write_bytes(RED)
    port = service.port if kind.startswith("http") else grpc_port
    command = [sys.executable, str(tritonclient_calls.__file__), kind, f"127.0.0.1:{port}", str(picture)]
    process = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert process.returncode == 0, process.stderr
    found: dict[str, Any] = json.loads(process.stdout)
    return found


def test_every_call_succeeds_or_fails_as_documented(
    kind: str, results: dict[str, Any], record_property: Callable[[str, object], None]
) -> None:
    found = {call: result for call, result in results.items() if call not in ("values", "stream")}
    expected = {call: ERRORS.get(call, "ok") for call in found}
    if kind.startswith("grpc"):
        expected = {call: GRPC.get(status, status) for call, status in expected.items()}
    assert found == expected
    assert ERRORS.keys() <= found.keys()
    for call, result in found.items():
        shown = "works" if result == "ok" else result.removeprefix("StatusCode.")
        record_property(ROW, [CLIENT, kind, call, shown])


def test_values_are_those_of_infer(service: Service, results: dict[str, Any]) -> None:
    values = results["values"]
    assert [values[name] for name in ("live", "ready", "model ready", "unknown ready")] == [True, True, True, False]
    predictions = plain_http.post(f"{service.base_url}/infer", content=RED, timeout=WAIT_S).json()["predictions"]
    picture = values["picture"]
    assert picture["label"] == [[p["label"] for p in predictions]]
    assert picture["class_id"] == [[p["class_id"] for p in predictions]]
    assert picture["score"] == [[float(np.float32(p["score"])) for p in predictions]]
    best = predictions[0]
    assert values["classes"]["score"][0][0] == f"{best['score']}:{best['class_id']}:{best['label']}"
    assert values["two pictures"] == {"count": [[3], [3]]}
    means = np.arange(2 * 3 * 8 * 8, dtype=np.float32).reshape(2, 3, -1).mean(axis=2)
    assert values["tensor"]["logits"] == values["FP16 tensor"]["logits"] == (10 * means).tolist()
    assert values["gzip"] == values["deflate"] == {"label": picture["label"]}
    assert values["outputs"] == ["label", "class_id", "score", "count"]


def test_a_stream_goes_on_after_an_error(
    kind: str, results: dict[str, Any], record_property: Callable[[str, object], None]
) -> None:
    if kind.startswith("grpc"):
        first, second, third = results["stream"]
        assert (first, third) == ("ok", "ok")
        assert "no model 'nope'" in second
        record_property(ROW, [CLIENT, kind, "a stream, which goes on after an error", "works"])
