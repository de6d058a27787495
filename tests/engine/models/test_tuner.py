"""Plans for real sessions of tiny graphs, and their cache."""

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from engine.models import tuner as tuner_module
from engine.models.load import load_model
from engine.models.loaded_model import LoadedModel
from engine.models.tuner import Tuner, can_batch
from engine.scheduling.run_context import alone
from engine.scheduling.run_plan import RunLimits, RunPlan, TuneLevel
from engine.scheduling.tuning import Measurement, Subject, Tuning
from loaders.model_loader import create_model_loader
from loaders.repository.model_repository import ModelRepository, ModelVersion
from loaders.runtimes.base import Session, SessionOptions
from loaders.runtimes.onnxruntime_loader import OnnxRuntimeLoader
from tests.tiny_models import add_model, colour_graph
from utils.time_utils import StageTimer

ONE = SessionOptions()
Q = TuneLevel.QUICK


class CountedLoader(OnnxRuntimeLoader):
    def __init__(self) -> None:
        self.threads: list[int] = []

    def load(self, path: Path, options: SessionOptions) -> Session:
        self.threads.append(options.threads)
        return super().load(path, options)


@pytest.fixture
def loader() -> CountedLoader:
    return CountedLoader()


@pytest.fixture
def version(tmp_path: Path) -> ModelVersion:
    add_model(tmp_path / "models", "colours", colour_graph())
    return ModelRepository(tmp_path / "models").find("colours")


@pytest.fixture
def model(version: ModelVersion) -> LoadedModel:
    return load_model(version, create_model_loader("onnxruntime"), ONE)


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch) -> list[TuneLevel]:
    """The levels of all measurements, whose result is always the same."""
    levels: list[TuneLevel] = []

    def measure(subject: Subject, cores: int, level: TuneLevel) -> Tuning:
        levels.append(level)
        rows = (Measurement(threads, 1, 1, 1.5 / threads, cores * 1e3) for threads in subject.sessions)
        return Tuning(level, RunPlan((1, 2)), f"number {len(levels)}", tuple(rows), datetime.now(UTC))

    monkeypatch.setattr(tuner_module, "measure", measure)
    return levels


def answers(model: LoadedModel, cores: int) -> bytes:
    frame = model.preprocessor.frame(model.preprocessor.target)
    tensor = np.full(model.preprocessor.input_shape, 0.25, np.float32)
    return b"".join(output.tobytes() for output in model.infer(tensor, frame, alone(StageTimer(), cores)).values())


def test_level_off_measures_nothing_and_uses_the_default_plan(
    model: LoadedModel, version: ModelVersion, loader: CountedLoader, measured: list[TuneLevel]
) -> None:
    tuned = Tuner(loader, ONE, cores=3)(model, version)
    assert tuned.runner.plan == RunPlan((1, 3))
    assert tuned.tuning is None
    assert loader.threads == [1, 1, 1, 3], "a session for each run at once"
    assert measured == []


def test_outputs_do_not_depend_on_the_number_of_threads(
    model: LoadedModel, version: ModelVersion, loader: CountedLoader
) -> None:
    tuned = Tuner(loader, ONE, cores=2)(model, version)
    assert answers(tuned, 1) == answers(tuned, 2) == answers(model, 1)


def test_a_tuning_is_cached(
    model: LoadedModel, version: ModelVersion, loader: CountedLoader, measured: list[TuneLevel], tmp_path: Path
) -> None:
    tuners = [Tuner(loader, ONE, 2, level, cache=tmp_path / "c") for level in (Q, Q, TuneLevel.FULL, Q)]
    found = [tuner(model, version) for tuner in tuners]
    assert measured == [Q, TuneLevel.FULL], "a full tuning serves the quick level, not the reverse"
    assert {tuned.runner.plan for tuned in found} == {RunPlan((1, 2))}
    assert found[0].tuning == found[1].tuning
    assert found[2].tuning == found[3].tuning
    assert found[0].tuning
    assert found[0].tuning.measured


def test_other_files_or_other_cores_are_measured_again(
    model: LoadedModel, version: ModelVersion, loader: CountedLoader, measured: list[TuneLevel], tmp_path: Path
) -> None:
    for cores in (2, 3):
        Tuner(loader, ONE, cores, TuneLevel.QUICK, cache=tmp_path / "c")(model, version)
    add_model(tmp_path / "models", "colours", colour_graph(gain=3.0))
    Tuner(loader, ONE, 2, TuneLevel.QUICK, cache=tmp_path / "c")(model, version)
    assert len(measured) == 3


@pytest.mark.parametrize("damage", [lambda _: b"", lambda data: data[:-9], lambda _: b'{"level": "quick"}'])
def test_a_damaged_cache_is_measured_again(
    model: LoadedModel,
    version: ModelVersion,
    loader: CountedLoader,
    measured: list[TuneLevel],
    tmp_path: Path,
    damage: Callable[[bytes], bytes],
) -> None:
    tuner = Tuner(loader, ONE, 2, TuneLevel.QUICK, cache=tmp_path / "c")
    tuner(model, version)
    [file] = (tmp_path / "c" / "tuning").iterdir()
    file.write_bytes(damage(file.read_bytes()))
    assert tuner(model, version).tuning == tuner(model, version).tuning
    assert len(measured) == 2


def test_a_cache_that_cannot_be_written_is_logged(
    model: LoadedModel, version: ModelVersion, loader: CountedLoader, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").touch()
    tuned = Tuner(loader, ONE, 1, TuneLevel.QUICK, cache=tmp_path / "file")(model, version)
    assert tuned.tuning
    assert "cannot write the tuning cache" in caplog.text


@pytest.mark.parametrize(
    ("limits", "plan"),
    [
        (RunLimits(intra_op_threads=1), RunPlan((1,))),
        (RunLimits(intra_op_threads=1024), RunPlan((1, 2))),
        (RunLimits(batch=8), RunPlan((1, 2), 8, 2)),
        (RunLimits(intra_op_threads=1, batch=1), RunPlan((1,))),
    ],
)
def test_limits_of_the_operator_override_the_plan(
    model: LoadedModel, version: ModelVersion, loader: CountedLoader, limits: RunLimits, plan: RunPlan
) -> None:
    tuned = Tuner(loader, ONE, cores=2, limits=limits)(model, version)
    assert tuned.runner.plan == plan
    assert answers(tuned, 1) == answers(model, 1)


def test_a_large_graph_has_one_session_of_all_cores(
    model: LoadedModel, version: ModelVersion, loader: CountedLoader, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tuner_module, "_LARGE_BYTES", 10)
    tuned = Tuner(loader, ONE, 4, TuneLevel.QUICK)(model, version)
    assert (tuned.runner.plan, loader.threads) == (RunPlan((4,)), [4])


@pytest.mark.parametrize(("batch", "can"), [("batch", True), (1, False)])
def test_can_batch(tmp_path: Path, batch: int | str, can: bool) -> None:
    add_model(tmp_path, "m", colour_graph(batch=batch))
    model = load_model(ModelRepository(tmp_path).find("m"), create_model_loader("onnxruntime"), ONE)
    assert can_batch(model) == can


def test_a_graph_without_a_batch_dimension_ignores_the_batch_limit(tmp_path: Path, loader: CountedLoader) -> None:
    add_model(tmp_path, "one", colour_graph(batch=1))
    version = ModelRepository(tmp_path).find("one")
    model = load_model(version, loader, ONE)
    assert Tuner(loader, ONE, 2, limits=RunLimits(batch=8))(model, version).runner.plan.batch == 1


def test_an_inconclusive_tuning_is_measured_again(
    model: LoadedModel, version: ModelVersion, loader: CountedLoader, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    levels: list[TuneLevel] = []

    def measure(subject: Subject, cores: int, level: TuneLevel) -> Tuning:
        assert subject.sessions
        levels.append(level)
        return Tuning(level, RunPlan((1, cores)), "busy", (), datetime.now(UTC), conclusive=False)

    monkeypatch.setattr(tuner_module, "measure", measure)
    for _ in range(2):
        assert Tuner(loader, ONE, 2, Q, cache=tmp_path / "c")(model, version).runner.plan == RunPlan((1, 2))
    assert levels == [Q, Q]
