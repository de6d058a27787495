"""Runtimes beside each other: chosen by measuring, in bfloat16, and one that crashes."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from engine.models import runtime_choice
from engine.models.check import ModelCheck
from engine.models.runtime_choice import RuntimeChooser
from loaders.repository.model_repository import ModelRepository
from loaders.runtimes.base import Precision
from tests.paths import ROOT
from tests.server import service_settings, serving
from tests.tiny_models import add_model, colour_graph

CAT = ROOT / "tests" / "data" / "cat.jpg"
Start = Callable[..., dict[str, Any]]


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
