"""Models are loaded once, when asked for; one that is broken is alone in that."""

import logging
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier, Event
from time import monotonic, sleep

import pytest

from engine import live_models
from engine.live_model import LiveModel, load_live_model
from engine.live_models import LiveModels, ModelState, ModelUnavailableError
from loaders.model_errors import UnknownModelError
from loaders.model_loader import SessionOptions, create_model_loader
from loaders.model_repository import ModelRepository, ModelVersion
from tests.tiny_models import add_model, colour_graph

WAIT_S = 30.0
ASKERS = 16


class CountedLoad:
    """Loads for real, counts, and waits for `go`."""

    def __init__(self) -> None:
        self.counts: Counter[tuple[str, int]] = Counter()
        self.go = Event()
        self.go.set()

    def __call__(self, version: ModelVersion) -> LiveModel:
        self.counts[version.name, version.number] += 1
        assert self.go.wait(WAIT_S)
        return load_live_model(version, create_model_loader("onnxruntime"), SessionOptions())


@pytest.fixture
def load() -> CountedLoad:
    return CountedLoad()


@pytest.fixture
def models(tmp_path: Path, load: CountedLoad) -> Iterator[LiveModels]:
    add_model(tmp_path, "colours", colour_graph())
    add_model(tmp_path, "colours", colour_graph(gain=5), version=2)
    add_model(tmp_path, "other", colour_graph())
    (add_model(tmp_path, "broken", colour_graph()) / "1" / "model.onnx").write_bytes(b"no graph")
    made = LiveModels(ModelRepository(tmp_path), load, "colours")
    yield made
    load.go.set()
    made.close()


def eventually(condition: Callable[[], bool]) -> bool:
    """A load's result is there a moment before its state is, or after."""
    until = monotonic() + WAIT_S
    while not condition() and monotonic() < until:
        sleep(0.001)
    return condition()


def fails(models: LiveModels, name: str) -> ModelUnavailableError:
    error = models.request(name).exception(WAIT_S)
    assert isinstance(error, ModelUnavailableError)
    return error


def test_many_who_ask_at_the_same_time_share_one_load(models: LiveModels, load: CountedLoad) -> None:
    load.go.clear()
    together = Barrier(ASKERS)

    def ask(number: int) -> LiveModel:
        together.wait(WAIT_S)
        return models.request(("colours", None)[number % 2], (2, None)[number // 2 % 2]).result(WAIT_S)

    with ThreadPoolExecutor(ASKERS) as pool:
        answers = [pool.submit(ask, number) for number in range(ASKERS)]
        assert eventually(lambda: load.counts.total() > 0)
        load.go.set()
        loaded = {id(answer.result(WAIT_S)) for answer in answers}
    assert len(loaded) == 1
    assert load.counts == {("colours", 2): 1}


@pytest.mark.parametrize(
    ("name", "number", "ref"),
    [
        (None, None, ("colours", 2)),
        ("colours", None, ("colours", 2)),
        ("colours", 1, ("colours", 1)),
        (None, 1, ("colours", 1)),
        ("other", None, ("other", 1)),
    ],
)
def test_a_model_is_found_by_name_and_version_or_by_default(
    models: LiveModels, name: str | None, number: int | None, ref: tuple[str, int]
) -> None:
    model = models.request(name, number).result(WAIT_S)
    assert (model.ref.name, model.ref.version) == ref


def test_nothing_is_loaded_before_it_is_asked_for(models: LiveModels, load: CountedLoad) -> None:
    assert (models.status("colours"), models.ready(), load.counts.total()) == (None, None, 0)


def test_the_state_goes_from_loading_to_ready(models: LiveModels, load: CountedLoad) -> None:
    load.go.clear()
    asked = models.request("other")
    status = models.status("other")
    assert status is not None
    assert (status.state, models.ready("other")) == (ModelState.LOADING, None)
    load.go.set()
    loaded = asked.result(WAIT_S)
    assert eventually(lambda: models.ready("other") is loaded)
    assert models.ready("other", 1) is loaded
    assert (models.status("other") or status).state is ModelState.READY


@pytest.mark.parametrize(
    ("name", "number", "what", "known"),
    [
        ("dogs", None, "'dogs'", ("broken", "colours", "other")),
        ("colours", 3, "version 3", ("version 1", "version 2")),
        ("../colours", None, "'../colours'", ("broken", "colours", "other")),
    ],
)
def test_what_is_unknown_is_told_at_once_with_what_there_is(
    models: LiveModels, name: str, number: int | None, what: str, known: tuple[str, ...]
) -> None:
    with pytest.raises(UnknownModelError) as error:
        models.request(name, number)
    assert what in str(error.value)
    assert error.value.known == known
    assert models.status(name, number) is None


def test_a_broken_model_says_why_and_leaves_the_others_working(
    models: LiveModels, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.ERROR):
        error = fails(models, "broken")
    assert "model.onnx cannot be loaded" in error.reason
    assert str(tmp_path) not in str(error)
    assert "broken" in caplog.text
    status = models.status("broken")
    assert status is not None
    assert (status.state, status.reason) == (ModelState.UNAVAILABLE, error.reason)
    assert models.ready("broken") is None
    assert models.request("colours").result(WAIT_S).ref.name == "colours"


def test_an_error_that_is_not_ours_shows_its_class_and_hides_its_text(tmp_path: Path) -> None:
    add_model(tmp_path, "colours", colour_graph())

    def fail(version: ModelVersion) -> LiveModel:
        raise PermissionError(f"{version.graph}: permission denied")

    models = LiveModels(ModelRepository(tmp_path), fail, "colours")
    reason = fails(models, "colours").reason
    models.close()
    assert "PermissionError" in reason
    assert str(tmp_path) not in reason


def test_a_failed_load_waits_before_it_is_tried_again(models: LiveModels, load: CountedLoad) -> None:
    first, second = fails(models, "broken"), fails(models, "broken")
    assert first is second
    assert first.retry_after_s == live_models.RETRY_FAILED_LOAD_S
    assert load.counts["broken", 1] == 1


def test_after_the_pause_a_mended_model_is_loaded(
    models: LiveModels, load: CountedLoad, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fails(models, "broken")
    add_model(tmp_path, "broken", colour_graph())
    monkeypatch.setattr(live_models, "RETRY_FAILED_LOAD_S", 0.0)
    mended = models.request("broken").result(WAIT_S)
    assert eventually(lambda: models.ready("broken") is mended)
    assert models.request("broken", 1).result(WAIT_S) is mended
    assert load.counts["broken", 1] == 2


def test_a_model_that_loaded_is_never_loaded_again(
    models: LiveModels, load: CountedLoad, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live_models, "RETRY_FAILED_LOAD_S", 0.0)
    first = models.request("other").result(WAIT_S)
    assert models.request("other").result(WAIT_S) is first
    assert load.counts["other", 1] == 1
