"""Runtimes beside each other: chosen by measuring, in bfloat16, and one that crashes."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest

from engine.models import runtime_choice
from engine.models.check import ModelCheck
from engine.models.runtime_choice import RuntimeChooser
from loaders.repository.model_repository import ModelRepository
from loaders.runtimes.base import Precision
from tests.crashing_model import crashing_graph
from tests.paths import ROOT
from tests.server import Server, service_settings, serving, until
from tests.tiny_models import add_model, colour_graph, solid_png, with_second_input

CAT = ROOT / "tests" / "data" / "cat.jpg"
Start = Callable[..., dict[str, Any]]
WithTwins = Callable[..., AbstractContextManager[Server]]


@pytest.fixture
def describe(tmp_path: Path) -> Start:
    """Starts a service that measures, and returns its default model's answer and description."""

    def start(**settings: object) -> dict[str, Any]:
        chosen = service_settings(intra_op_threads=0, max_batch=0, cache_dir=tmp_path, **settings)
        with serving(chosen) as server:
            answer = server.client.post("/infer", content=CAT.read_bytes())
            assert answer.status_code == 200, answer.text
            return {"answer": answer.json(), **server.client.get("/models/efficientnet-lite0").json()}

    return start


def test_auto_compares_openvino_once(describe: Start, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "fovea.models")
    first = describe()["runtime"]
    [compared] = first["compared"]
    assert (compared["runtime"], compared["precision"], compared["rejected"]) == ("openvino", "exact", "")
    assert compared["difference"] <= 1e-4
    for speed in (compared["speed"], compared["reference_speed"]):
        assert speed["ms"] > 0
        assert speed["pictures_per_s"] > 0
    assert first["runtime"] in ("onnxruntime", "openvino")
    assert describe()["runtime"] == first, "the second start uses the cache"
    assert caplog.text.count(f"runtime chosen name=efficientnet-lite0 version=1 runtime={first['runtime']}") == 2


def test_fast_is_bfloat16_where_the_processor_has_it(describe: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runtime_choice, "_CLEARLY_FASTER", 0.01)  # on a busy machine, too
    monkeypatch.setattr(runtime_choice, "_CLEARLY_SLOWER", 0.01)
    exact = describe(model_loader="openvino")
    assert exact["answer"]["model"]["precision"] == exact["runtime"]["precision"] == "exact"
    fast = describe(model_loader="openvino", precision="fast")
    [compared] = fast["runtime"]["compared"]
    if compared["rejected"] == "this processor has no bfloat16 arithmetic":
        assert fast["answer"]["model"]["precision"] == "exact"
        return
    assert fast["answer"]["model"]["precision"] == fast["runtime"]["precision"] == "bf16"
    best, same = exact["answer"]["predictions"][0], fast["answer"]["predictions"][0]
    assert same["label"] == best["label"]
    assert 0 < abs(same["score"] - best["score"]) < 0.05
    assert 0 < compared["difference"] < 0.05
    assert fast["samples"]["agreeing"] == fast["samples"]["count"]


@pytest.fixture
def with_twins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> WithTwins:
    """A service with models that have the given twins. A slow one is taken, too, as a busy machine may make it."""
    monkeypatch.setattr(runtime_choice, "_CLEARLY_FASTER", 0.01)
    monkeypatch.setattr(runtime_choice, "_CLEARLY_SLOWER", 0.01)

    def start(precision: str = "fast", **twins: bytes) -> AbstractContextManager[Server]:
        models = tmp_path / "models"
        for name, twin in twins.items():
            folder = add_model(models, name, colour_graph())
            (folder / "1" / "model_int8.onnx").write_bytes(twin)
        settings = {"models_dir": models, "default_model": next(iter(twins)), "load": "all", "cache_dir": tmp_path}
        measured = {"model_loader": "onnxruntime", "intra_op_threads": 0, "max_batch": 0}
        return serving(service_settings(precision=precision, **settings, **measured))

    return start


def answer(server: Server, model: str) -> tuple[str, float]:
    """The precision, and the score of a red picture."""
    response = server.client.post(f"/infer?model={model}", content=solid_png("red"))
    assert response.status_code == 200, response.text
    return response.json()["model"]["precision"], response.json()["predictions"][0]["score"]


def runtime_of(server: Server, model: str) -> dict[str, Any]:
    runtime: dict[str, Any] = server.client.get(f"/models/{model}").json()["runtime"]
    return runtime


def test_fast_serves_the_twin(with_twins: WithTwins, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "fovea.models")
    file = tmp_path / "models" / "colours" / "1" / "model_int8.onnx"
    exact, twin = (colour_graph(gain=gain).SerializeToString() for gain in (10.0, 10.5))
    with with_twins(colours=twin) as server:
        precision, score = answer(server, "colours")
        runtime = runtime_of(server, "colours")
        [compared] = runtime["compared"]
        assert precision == runtime["precision"] == compared["precision"] == "int8"
        assert runtime["runtime"] == "onnxruntime"
        assert 0 < compared["difference"] < 0.05
        assert compared["speed"]["ms"] > 0
        assert "name=colours version=1 runtime=onnxruntime precision=int8" in caplog.text
        file.write_bytes(exact)
        until(lambda: answer(server, "colours")[1] != score)
        assert answer(server, "colours")[0] == "int8"
        file.unlink()
        until(lambda: answer(server, "colours")[0] == "exact")
        assert runtime_of(server, "colours")["compared"] == []


def test_twin_that_cannot_be_used_is_out_with_the_reason(with_twins: WithTwins) -> None:
    twins = {
        "disagrees": colour_graph(gain=-10).SerializeToString(),
        "other_inputs": with_second_input(colour_graph()).SerializeToString(),
        "crashes": crashing_graph(level=0).SerializeToString(),
        "empty": b"",
    }
    reasons = {
        "disagrees": "its answers differ by 1, more than 0.05",
        "other_inputs": "model_int8.onnx has other inputs than model.onnx: image float32",
        "crashes": "the runtime crashed on it",
        "empty": "model_int8.onnx is empty (0 bytes)",
    }
    with with_twins(**twins) as server:
        for name, reason in reasons.items():
            assert answer(server, name)[0] == "exact"
            [compared] = runtime_of(server, name)["compared"]
            assert (compared["precision"], compared["speed"]) == ("int8", None)
            assert compared["rejected"].startswith(reason)


def test_exact_does_not_read_the_twin(with_twins: WithTwins) -> None:
    with with_twins("exact", colours=b"no graph") as server:
        assert answer(server, "colours")[0] == "exact"
        assert runtime_of(server, "colours")["compared"] == []


@pytest.mark.parametrize("content", ["import os; os.abort()", "raise ImportError"])
def test_runtime_that_crashes_leaves_the_process_alive(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: str
) -> None:
    add_model(tmp_path / "models", "colours", colour_graph())
    version = ModelRepository(tmp_path / "models").find("colours")
    (tmp_path / "openvino.py").write_text(content)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    check = ModelCheck("onnxruntime", "onnxruntime 1", ("cpu",), tmp_path / "cache")
    choice = RuntimeChooser(check, (("openvino", Precision.EXACT),), 2, 0.05)(version)
    assert choice.runtime == "onnxruntime"
    assert "the runtime crashed on it" in choice.compared[0].rejected
