"""`make tune`: what it prints, and that the service finds what it wrote."""

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
    (add_model(folder, "broken", colour_graph()) / "1" / "model.onnx").write_bytes(b"no graph")
    monkeypatch.setenv("API_MODELS_DIR", str(folder))
    monkeypatch.setenv("API_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setattr(tuner_module, "measure", _measured)
    return folder


def _measured(subject: Subject, cores: int, level: TuneLevel) -> Tuning:
    """In the place of 20 seconds of work."""
    rows = (Measurement(1, 1, 1, 4.125, 242.4), Measurement(1, 4, cores, 12.5, 320.0))
    assert set(subject.sessions) == {1, cores}
    return Tuning(level, RunPlan((1,), batch=4, runs=2), "a test says so", rows, datetime.now(UTC))


def test_it_shows_what_it_measured_and_the_service_uses_it(
    models: Path, tmp_path: Path, serve: Serve, capsys: pytest.CaptureFixture[str]
) -> None:
    assert tune.main(["colour", "other"]) == 0
    shown = capsys.readouterr().out
    assert "colour version 1" in shown
    assert "other version 1" in shown
    assert "4.12" in shown
    assert "kept: 1 cores a run, at most 4 pictures a run (a test says so)" in shown
    server = serve(models_dir=models, cache_dir=tmp_path / "cache", tune="quick")
    tuning = server.client.get("/models/colour").json()["tuning"]
    assert tuning["plan"] == {"intra_op_threads": [1], "batch": 4, "runs": 2}
    assert tuning["level"] == "full"


def test_without_a_name_it_takes_all_and_a_broken_one_does_not_end_it(
    models: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert models.is_dir()
    assert tune.main([]) == 1
    shown = capsys.readouterr().out
    assert shown.index("broken") < shown.index("colour version 1") < shown.index("other version 1")
    assert "damaged" in shown
    assert shown.count("kept:") == 2


def test_an_unknown_model_is_a_wrong_call(models: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert models.is_dir()
    with pytest.raises(SystemExit) as end:
        tune.main(["missing"])
    assert end.value.code == 2
    assert "There is no model" in capsys.readouterr().err
