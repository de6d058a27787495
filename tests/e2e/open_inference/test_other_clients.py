"""Clients in environments of their own, which `make e2e` installs: kserve, and Triton's perf_analyzer."""

import base64
import json
import os
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.e2e.client_table import ROW
from tests.e2e.services import RED
from tests.paths import ROOT
from tests.process import Service

KSERVE, PERF_ANALYZER = ROOT / ".clients/kserve", ROOT / ".clients/perf-analyzer"
CALLS = Path(__file__).with_name("kserve_calls.py")
TIMEOUT_S = 120
KSERVE_ERRORS = {
    "infer, unknown model": {"REST": "404", "gRPC": "NOT_FOUND"},
    "infer, wrong input": {"REST": "400", "gRPC": "INVALID_ARGUMENT"},
}
# By model: the call's name, and arguments. -s: any scatter of the times is accepted.
MODELS = {"colour": ("pictures", "--input-data={data}"), "colour.tensor": ("tensors, in batches", "-b2")}
TRANSPORTS = {"HTTP": ["-i", "http"], "gRPC": ["-i", "grpc"], "gRPC, streaming": ["-i", "grpc", "--streaming"]}
SHORT = ["--measurement-mode=count_windows", "--measurement-request-count=10", "-r3", "-s999"]

Record = Callable[[str, object], None]


def locked_version(package: str, group: str) -> str:
    [found] = re.findall(rf"^{package}==(\S+)", (ROOT / f"requirements/{group}.txt").read_text(), re.MULTILINE)
    return str(found)


def test_kserve_in_every_call(service: Service, grpc_port: int, tmp_path: Path, record_property: Record) -> None:
    picture = tmp_path / "red.png"
    picture.write_bytes(RED)
    command = [str(KSERVE / "bin/python"), str(CALLS), str(service.port), str(grpc_port), str(picture)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
    assert done.returncode == 0, done.stderr
    client = f"kserve {locked_version('kserve', 'clients-kserve')}"
    for transport, results in json.loads(done.stdout).items():
        for call, result in results.items():
            works = True if call.startswith("is_") else "10.0" if "tensor" in call else "red"
            assert result == KSERVE_ERRORS.get(call, {}).get(transport, works), (transport, call)
            record_property(ROW, [client, transport, call, "works" if result == works else result])


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("transport", TRANSPORTS)
def test_perf_analyzer(
    service: Service, grpc_port: int, tmp_path: Path, record_property: Record, transport: str, model: str
) -> None:
    """It reads metadata, configuration and statistics, and fails if any request does."""
    element = len(RED).to_bytes(4, "little") + RED
    content = {"content": {"b64": base64.b64encode(element).decode()}, "shape": [1]}
    data = tmp_path / "data.json"
    data.write_text(json.dumps({"data": [{"image": content}]}))
    call, argument = MODELS[model]
    url = f"127.0.0.1:{service.port if transport == 'HTTP' else grpc_port}"
    command = [str(PERF_ANALYZER / "bin/perf_analyzer"), "-m", model, "-u", url, *TRANSPORTS[transport]]
    [cuda] = PERF_ANALYZER.glob("lib/python*/site-packages/nvidia/cuda_runtime/lib")  # the program links to it
    done = subprocess.run(
        [*command, *SHORT, argument.format(data=data)],
        env={**os.environ, "LD_LIBRARY_PATH": str(cuda)},
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    server = re.search(r"Server: \n    Inference count: (\d+)", done.stdout)
    assert server, done.stdout
    assert int(server[1]) >= 10
    version = locked_version("tritonclient", "clients-perf-analyzer")
    record_property(ROW, [f"perf_analyzer {version}", transport, call, "works"])
