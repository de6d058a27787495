"""`make tune` prints its measurements, and the service uses them."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from engine.models import tuner as tuner_module
from engine.scheduling.run_plan import RunPlan, TuneLevel
from engine.scheduling.tuning import Measurement, Subject, Tuning
from tests.conftest import Serve
from tests.tiny_models import add_model, colour_graph
from tools import tune


@pytest.fixture
def models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "models"
    add_model(folder, "colour", colour_graph())
    add_model(folder, "other", colour_graph(gain=2.0))
    (add_model(folder, "broken", colour_graph()) / "1" / "model.onnx").write_bytes(b"not a graph")
    monkeypatch.setenv("API_MODELS_DIR", str(folder))
    monkeypatch.setenv("API_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setattr(tuner_module, "measure", _measured)
    return folder


def _measured(subject: Subject, cores: int, level: TuneLevel) -> Tuning:
    """Replaces a measurement of 20 seconds."""
    rows = (Measurement(1, 1, 1, 4.125, 242.4), Measurement(1, 4, cores, 12.5, 320.0))
    assert set(subject.sessions) == {1, cores}
    return Tuning(level, RunPlan((1,), batch=4, runs=2), "a test says so", rows, datetime.now(UTC))


@pytest.mark.slow
def test_the_service_uses_the_measurements_that_are_printed(
    models: Path, tmp_path: Path, serve: Serve, capsys: pytest.CaptureFixture[str]
) -> None:
    assert tune.main(["colour", "other"]) == 0
    shown = capsys.readouterr().out
    assert "colour version 1" in shown
    assert "other version 1" in shown
    assert "4.12" in shown
    assert "chosen: 1 intra-op threads, batches up to 4 (a test says so)" in shown
    settings = {"models_dir": models, "cache_dir": tmp_path / "cache", "model_loader": "onnxruntime", "max_batch": 0}
    server = serve(**settings, intra_op_threads=0)
    tuning = server.client.get("/models/colour").json()["tuning"]
    assert tuning["plan"] == {"intra_op_threads": [1], "batch": 4, "runs": 2}
    assert tuning["level"] == "full"


def test_without_names_all_models_are_measured_except_broken_ones(
    models: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert models.is_dir()
    assert tune.main([]) == 1
    shown = capsys.readouterr().out
    assert shown.index("broken") < shown.index("colour version 1") < shown.index("other version 1")
    assert "damaged" in shown
    assert shown.count("chosen:") == 2


def test_an_unknown_model_is_status_2(models: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert models.is_dir()
    with pytest.raises(SystemExit) as end:
        tune.main(["missing"])
    assert end.value.code == 2
    assert "There is no model" in capsys.readouterr().err
