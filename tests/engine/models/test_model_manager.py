"""Requests for models: how they are found, loaded, retried and unloaded."""

import logging
import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier
from time import monotonic

import pytest

from engine.models import load_attempt, model_manager
from engine.models.load_attempt import ModelState, ModelUnavailableError
from engine.models.loaded_model import LoadedModel
from engine.models.model_manager import ModelManager, ModelManagerOptions
from loaders.model_errors import UnknownModelError
from loaders.repository.model_repository import ModelRepository, ModelVersion
from tests.engine.models.loading import CLIENTS, WAIT_S, CountedLoad, Make, eventually, fails, serves
from tests.tiny_models import add_model, colour_graph


@pytest.fixture
def later(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Advances the clock by seconds."""
    passed_s = 0.0

    def advance(seconds: float) -> None:
        nonlocal passed_s
        passed_s += seconds

    for module in (load_attempt, model_manager):
        monkeypatch.setattr(module, "monotonic", lambda: monotonic() + passed_s)
    return advance


def test_concurrent_requests_share_one_load(make: Make, load: CountedLoad) -> None:
    models = make()
    load.go.clear()
    together = Barrier(CLIENTS)

    def request(number: int) -> LoadedModel:
        together.wait(WAIT_S)
        return models.request(("colours", None)[number % 2], (2, None, "2")[number % 3]).result(WAIT_S)

    with ThreadPoolExecutor(CLIENTS) as pool:
        answers = [pool.submit(request, number) for number in range(CLIENTS)]
        assert eventually(lambda: load.counts.total() > 0)
        load.go.set()
        loaded = {id(answer.result(WAIT_S)) for answer in answers}
    assert len(loaded) == 1
    assert load.counts == {("colours", 2): 1}


@pytest.mark.parametrize(
    ("name", "selector", "ref"),
    [
        (None, None, ("colours", 2)),
        ("colours", None, ("colours", 2)),
        ("colours", 1, ("colours", 1)),
        (None, "1", ("colours", 1)),
        ("other", None, ("other", 1)),
    ],
)
def test_a_model_is_found_by_name_and_version_or_by_default(
    make: Make, name: str | None, selector: int | str | None, ref: tuple[str, int]
) -> None:
    model = make().request(name, selector).result(WAIT_S)
    assert (model.ref.name, model.ref.version) == ref


@pytest.mark.parametrize(
    ("policy", "loaded"),
    [("on-demand", set()), ("default", {("colours", 2)}), ("all", {("colours", 2), ("other", 1), ("broken", 1)})],
)
def test_the_policy_decides_what_is_loaded_without_a_request(
    make: Make, load: CountedLoad, policy: str, loaded: set[tuple[str, int]]
) -> None:
    models = make(policy)
    assert eventually(lambda: set(load.counts) == loaded)
    models.reconcile()
    models.request("other").result(WAIT_S)
    assert load.counts["colours", 2] == (0 if policy == "on-demand" else 1)


@pytest.mark.parametrize(
    ("name", "selector", "what", "known"),
    [
        ("dogs", None, "'dogs'", ("broken", "colours", "other")),
        ("colours", 3, "version 3", ("version 1", "version 2")),
        ("colours", "stable", "'stable'", ("version 1", "version 2")),
        ("../colours", None, "'../colours'", ("broken", "colours", "other")),
    ],
)
def test_an_unknown_model_or_version_fails_with_the_known_ones(
    make: Make, name: str, selector: int | str | None, what: str, known: tuple[str, ...]
) -> None:
    with pytest.raises(UnknownModelError) as error:
        make().request(name, selector)
    assert what in str(error.value)
    assert error.value.known == known


def test_a_broken_model_reports_the_reason_and_others_keep_working(
    make: Make, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    models = make()
    with caplog.at_level(logging.WARNING):
        error = fails(models, "broken")
    assert str(tmp_path) not in str(error)
    assert "broken" in caplog.text
    status = models.status("broken", 1)
    assert (status.state, status.reason) == (ModelState.UNAVAILABLE, error.reason)
    assert models.ready("broken") is None
    assert models.request("colours").result(WAIT_S).ref.name == "colours"


def test_an_unexpected_error_shows_its_class_and_not_its_text(tmp_path: Path) -> None:
    add_model(tmp_path, "colours", colour_graph())

    def fail(version: ModelVersion) -> LoadedModel:
        raise PermissionError(f"{version.graph}: permission denied")

    models = ModelManager(ModelRepository(tmp_path), fail, ModelManagerOptions("colours"))
    models.reconcile()
    reason = fails(models, "colours").reason
    models.close()
    assert "PermissionError" in reason
    assert str(tmp_path) not in reason


def test_a_failed_load_is_retried_after_a_pause(
    make: Make, load: CountedLoad, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    models = make()
    assert fails(models, "broken") is fails(models, "broken")
    assert load.counts["broken", 1] == 1
    monkeypatch.setattr(load_attempt, "RETRY_FAILED_LOAD_S", 0.0)
    monkeypatch.setattr(load_attempt, "_PAUSE_PER_LOAD_SECOND", 0)
    add_model(tmp_path, "broken", colour_graph())
    assert models.request("broken").result(WAIT_S).ref.name == "broken"


def test_above_max_loaded_the_least_recently_used_is_unloaded(
    make: Make, tmp_path: Path, later: Callable[[float], None]
) -> None:
    for name in ("a", "b", "c"):
        add_model(tmp_path, name, colour_graph())
    models = make("default", max_loaded=3)
    assert serves(models, "colours", 2)
    for name in ("a", "b", "a", "c"):
        models.request(name).result(WAIT_S)
        assert serves(models, name, 1)
        later(1)
    models.reconcile()
    assert [models.serving(name) for name in ("colours", "a", "b", "c")] == [2, 1, None, 1]


def test_an_idle_model_is_unloaded_unless_it_is_the_default(make: Make, later: Callable[[float], None]) -> None:
    models = make("default", idle_unload_s=1)
    models.request("other").result(WAIT_S)
    assert serves(models, "other", 1)
    assert serves(models, "colours", 2)
    later(2)
    models.reconcile()
    assert (models.serving("other"), models.serving("colours")) == (None, 2)
    assert models.request("other").result(WAIT_S).ref.name == "other"


def test_a_version_requested_by_number_does_not_become_the_serving_one(make: Make) -> None:
    models = make()
    assert models.request("colours", 1).result(WAIT_S).ref.version == 1
    assert eventually(lambda: models.ready("colours", 1))
    assert models.serving("colours") is None
    assert models.request("colours").result(WAIT_S).ref.version == 2


def test_a_broken_version_requested_by_number_starts_no_fallback(make: Make, tmp_path: Path) -> None:
    add_model(tmp_path, "colours", colour_graph(), version=3)
    (tmp_path / "colours" / "2" / "model.onnx").write_bytes(b"no graph")
    models = make()
    fails(models, "colours", 2)
    models.reconcile()
    assert (models.serving("colours"), models.ready("colours", 1)) == (None, None)


def test_a_lower_version_that_is_loaded_is_the_fallback(make: Make, tmp_path: Path) -> None:
    (tmp_path / "colours" / "2" / "model.onnx").write_bytes(b"no graph")
    models = make()
    models.request("colours", 1).result(WAIT_S)
    assert eventually(lambda: models.ready("colours", 1))
    fails(models, "colours")
    assert serves(models, "colours", 1)


def test_a_request_waits_for_the_fallback_that_is_being_loaded(make: Make, load: CountedLoad, tmp_path: Path) -> None:
    (tmp_path / "colours" / "2" / "model.onnx").write_bytes(b"no graph")
    models = make()
    load.go.clear()
    failing = models.request("colours")
    models.request("colours", 1)
    load.go.set()
    assert failing.exception(WAIT_S)
    assert models.request("colours").result(WAIT_S).ref.version == 1


def test_a_load_that_the_stop_interrupts_is_no_error_in_the_log(
    make: Make, load: CountedLoad, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    models = make()
    load.go.clear()
    interrupted = models.request("colours")
    assert eventually(lambda: load.counts.total() > 0)
    (tmp_path / "colours" / "2" / "model.onnx").write_bytes(b"no graph")
    models.close()
    load.go.set()
    assert interrupted.exception(WAIT_S)
    assert "failed to load" not in caplog.text


def test_while_the_folder_was_never_read_every_model_is_unavailable(tmp_path: Path) -> None:
    folder = tmp_path / "models"
    models = ModelManager(ModelRepository(folder), CountedLoad(), ModelManagerOptions("colours"))
    models.reconcile()
    with pytest.raises(ModelUnavailableError, match="cannot be read"):
        models.request("colours")
    add_model(folder, "colours", colour_graph())
    models.reconcile()
    assert models.request("colours").result(WAIT_S)
    models.close()


def test_a_failed_default_model_is_retried_without_a_request(
    make: Make, load: CountedLoad, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.rmtree(tmp_path / "colours" / "1")
    (tmp_path / "colours" / "2" / "model.onnx").write_bytes(b"no graph")
    monkeypatch.setattr(load_attempt, "RETRY_FAILED_LOAD_S", 0.0)
    monkeypatch.setattr(load_attempt, "_PAUSE_PER_LOAD_SECOND", 0)
    models = make("default")
    assert eventually(lambda: models.status("colours", 2).state is ModelState.UNAVAILABLE)
    models.reconcile()
    assert eventually(lambda: load.counts["colours", 2] >= 2)


def test_an_idle_model_is_not_loaded_again_before_a_request(
    make: Make, load: CountedLoad, later: Callable[[float], None]
) -> None:
    models = make("all", idle_unload_s=1)
    assert serves(models, "other", 1)
    later(2)
    for _ in range(5):
        models.reconcile()
    assert (models.serving("other"), load.counts["other", 1]) == (None, 1)
    assert models.request("other").result(WAIT_S).ref.name == "other"


def test_a_request_loads_an_unloaded_version_again(make: Make, load: CountedLoad) -> None:
    models = make()
    models.request("other").result(WAIT_S)
    assert serves(models, "other", 1)
    models.choose(lambda choices: choices.set_loaded("other", 1, loaded=False))
    assert models.serving("other") is None
    assert models.request("other").result(WAIT_S).ref.name == "other"
    assert load.counts["other", 1] == 2
