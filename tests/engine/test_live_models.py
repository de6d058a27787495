"""Which models are in memory, which answers, and how they come and go."""

import gc
import logging
import shutil
import weakref
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier, Event
from time import monotonic, sleep

import pytest

from engine import model_slot, settled_catalog
from engine.live_model import LiveModel, load_live_model
from engine.live_models import LiveModels, LiveModelsOptions, LoadPolicy
from engine.model_slot import ModelState, ModelUnavailableError
from loaders.model_errors import UnknownModelError
from loaders.model_loader import SessionOptions, create_model_loader
from loaders.model_repository import ModelRepository, ModelVersion
from tests.tiny_models import add_model, colour_graph

WAIT_S = 10.0
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


Make = Callable[..., LiveModels]


@pytest.fixture
def make(tmp_path: Path, load: CountedLoad) -> Iterator[Make]:
    """A `LiveModels` on a folder with `colours` 1 and 2, `other` and `broken`; files count as complete at once."""
    add_model(tmp_path, "colours", colour_graph())
    add_model(tmp_path, "colours", colour_graph(gain=5), version=2)
    add_model(tmp_path, "other", colour_graph())
    (add_model(tmp_path, "broken", colour_graph()) / "1" / "model.onnx").write_bytes(b"no graph")
    made: list[LiveModels] = []

    def build(policy: str = "on-demand", **options: float) -> LiveModels:
        models = LiveModels(
            ModelRepository(tmp_path),
            load,
            LiveModelsOptions("colours", LoadPolicy(policy), **options),  # type: ignore[arg-type]
        )
        models.reconcile()
        made.append(models)
        return models

    yield build
    load.go.set()
    for models in made:
        models.close()


@pytest.fixture(autouse=True)
def settled_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settled_catalog, "SETTLE_S", -1.0)


def eventually(condition: Callable[[], object]) -> bool:
    until = monotonic() + WAIT_S
    while not condition() and monotonic() < until:
        sleep(0.001)
    return bool(condition())


def serves(models: LiveModels, name: str, number: int | None) -> bool:
    return eventually(lambda: models.serving(name) == number)


def fails(models: LiveModels, name: str, number: int | None = None) -> ModelUnavailableError:
    error = models.request(name, number).exception(WAIT_S)
    assert isinstance(error, ModelUnavailableError)
    return error


def test_many_who_ask_at_the_same_time_share_one_load(make: Make, load: CountedLoad) -> None:
    models = make()
    load.go.clear()
    together = Barrier(ASKERS)

    def ask(number: int) -> LiveModel:
        together.wait(WAIT_S)
        return models.request(("colours", None)[number % 2], (2, None, "2")[number % 3]).result(WAIT_S)

    with ThreadPoolExecutor(ASKERS) as pool:
        answers = [pool.submit(ask, number) for number in range(ASKERS)]
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
def test_the_policy_says_what_is_loaded_before_anybody_asks(
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
def test_what_is_unknown_is_told_at_once_with_what_there_is(
    make: Make, name: str, selector: int | str | None, what: str, known: tuple[str, ...]
) -> None:
    with pytest.raises(UnknownModelError) as error:
        make().request(name, selector)
    assert what in str(error.value)
    assert error.value.known == known


def test_a_broken_model_says_why_and_leaves_the_others_working(
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


def test_an_error_that_is_not_ours_shows_its_class_and_hides_its_text(tmp_path: Path) -> None:
    add_model(tmp_path, "colours", colour_graph())

    def fail(version: ModelVersion) -> LiveModel:
        raise PermissionError(f"{version.graph}: permission denied")

    models = LiveModels(ModelRepository(tmp_path), fail, LiveModelsOptions("colours"))
    models.reconcile()
    reason = fails(models, "colours").reason
    models.close()
    assert "PermissionError" in reason
    assert str(tmp_path) not in reason


def test_a_failed_load_waits_before_it_is_tried_again(
    make: Make, load: CountedLoad, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    models = make()
    assert fails(models, "broken") is fails(models, "broken")
    assert load.counts["broken", 1] == 1
    monkeypatch.setattr(model_slot, "RETRY_FAILED_LOAD_S", 0.0)
    add_model(tmp_path, "broken", colour_graph())
    assert models.request("broken").result(WAIT_S).ref.name == "broken"


def test_a_new_version_is_swapped_in_and_the_old_one_leaves_memory(
    make: Make, load: CountedLoad, tmp_path: Path
) -> None:
    models = make("default")
    assert serves(models, "colours", 2)
    old = weakref.ref(models.request().result(WAIT_S))
    load.go.clear()
    add_model(tmp_path, "colours", colour_graph(), version=3)
    models.reconcile()
    assert eventually(lambda: load.counts["colours", 3])
    assert models.request().result(WAIT_S).ref.version == 2, "the old one serves until the new one is ready"
    assert models.status("colours", 3).state is ModelState.LOADING
    load.go.set()
    assert serves(models, "colours", 3)
    assert models.request().result(WAIT_S).ref.version == 3
    gc.collect()
    assert eventually(lambda: old() is None)
    assert models.status("colours", 2).state is ModelState.UNAVAILABLE


def test_a_running_request_keeps_the_model_it_runs_on(make: Make, tmp_path: Path) -> None:
    models = make("default")
    held = models.request().result(WAIT_S)
    assert serves(models, "colours", 2)
    add_model(tmp_path, "colours", colour_graph(), version=3)
    models.reconcile()
    assert serves(models, "colours", 3)
    assert models.status("colours", 2).state is ModelState.UNLOADING
    held.warm_up()


def test_changed_files_of_the_version_serving_are_swapped_in(make: Make, tmp_path: Path) -> None:
    models = make("default")
    before = models.request().result(WAIT_S)
    assert serves(models, "colours", 2)
    (tmp_path / "colours" / "labels.txt").write_text("rot\ngrün\nblau\n")
    models.reconcile()
    assert eventually(lambda: models.request().result(WAIT_S) is not before)
    assert models.request().result(WAIT_S).spec.labels == ("rot", "grün", "blau")


def test_changed_files_that_do_not_load_leave_the_old_ones_serving_and_say_why(make: Make, tmp_path: Path) -> None:
    models = make("default")
    assert serves(models, "colours", 2)
    before = models.request().result(WAIT_S)
    (tmp_path / "colours" / "labels.txt").write_text("only\ntwo\n")
    models.reconcile()
    assert eventually(lambda: models.status("colours", 2).reason)
    status = models.status("colours", 2)
    assert status.state is ModelState.READY
    assert "labels" in str(status.reason)
    models.reconcile()
    assert models.request().result(WAIT_S) is before


def test_a_broken_new_version_leaves_the_old_one_serving(make: Make, tmp_path: Path, load: CountedLoad) -> None:
    models = make("default")
    assert serves(models, "colours", 2)
    (add_model(tmp_path, "colours", colour_graph(), version=3) / "3" / "model.onnx").write_bytes(b"no graph")
    for _ in range(3):
        models.reconcile()
    assert eventually(lambda: models.status("colours", 3).state is ModelState.UNAVAILABLE)
    assert models.request().result(WAIT_S).ref.version == 2
    assert models.serving("colours") == 2
    assert load.counts["colours", 3] == 1, "it is not tried again while its files stay as they are"


def test_after_a_start_with_a_broken_newest_version_the_next_lower_serves(make: Make, tmp_path: Path) -> None:
    for version in (3, 4):
        (add_model(tmp_path, "colours", colour_graph(), version=version) / str(version) / "model.onnx").write_bytes(b"")
    models = make("default")
    assert serves(models, "colours", 2)
    assert models.status("colours", 4).state is ModelState.UNAVAILABLE


def test_the_state_file_chooses_version_label_and_default(make: Make) -> None:
    models = make("default")
    assert serves(models, "colours", 2)
    models.choose(lambda choices: choices.with_active("colours", 1).with_label("colours", "stable", 1))
    assert serves(models, "colours", 1)
    assert models.request("colours", "stable").result(WAIT_S).ref.version == 1
    models.choose(lambda choices: choices.with_default("other"))
    assert models.default == "other"
    assert serves(models, "other", 1)


def test_a_labelled_version_stays_in_memory_when_another_is_swapped_in(make: Make) -> None:
    models = make("default")
    assert serves(models, "colours", 2)
    models.choose(lambda choices: choices.with_label("colours", "stable", 2))
    models.choose(lambda choices: choices.with_active("colours", 1))
    assert serves(models, "colours", 1)
    assert models.ready("colours", 2) is not None


def test_a_choice_that_is_no_longer_on_disk_is_the_highest_version(make: Make, tmp_path: Path) -> None:
    models = make("default")
    assert serves(models, "colours", 2)
    models.choose(lambda choices: choices.with_active("colours", 1).with_default("other"))
    assert serves(models, "colours", 1)
    shutil.rmtree(tmp_path / "colours" / "1")
    shutil.rmtree(tmp_path / "other")
    models.reconcile()
    assert serves(models, "colours", 2)
    assert models.default == "colours"


def test_a_deleted_model_leaves_memory(make: Make, tmp_path: Path) -> None:
    models = make()
    gone = weakref.ref(models.request("other").result(WAIT_S))
    shutil.rmtree(tmp_path / "other")
    models.reconcile()
    with pytest.raises(UnknownModelError):
        models.request("other")
    gc.collect()
    assert gone() is None


def test_when_the_folder_vanishes_what_is_loaded_goes_on_and_all_is_found_again(make: Make, tmp_path: Path) -> None:
    models = make("default")
    assert serves(models, "colours", 2)
    before = models.request().result(WAIT_S)
    away = tmp_path.with_name(f"{tmp_path.name}-away")
    tmp_path.rename(away)
    models.reconcile()
    assert models.request().result(WAIT_S) is before
    away.rename(tmp_path)
    models.reconcile()
    assert models.request("other").result(WAIT_S).ref.name == "other"


def test_files_that_may_still_grow_are_not_looked_at(
    make: Make, tmp_path: Path, load: CountedLoad, monkeypatch: pytest.MonkeyPatch
) -> None:
    models = make("default")
    assert serves(models, "colours", 2)
    monkeypatch.setattr(settled_catalog, "SETTLE_S", 0.2)
    graph = add_model(tmp_path, "colours", colour_graph(), version=3) / "3" / "model.onnx"
    whole = graph.read_bytes()
    graph.write_bytes(whole[:100])
    models.reconcile()
    sleep(0.1)
    graph.write_bytes(whole)
    models.reconcile()
    assert load.counts["colours", 3] == 0
    sleep(0.25)
    models.reconcile()
    assert serves(models, "colours", 3)
    assert load.counts["colours", 3] == 1


def test_a_file_that_is_gone_for_a_moment_does_not_take_its_model_along(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As when a graph is deleted and then copied anew."""
    shutil.rmtree(tmp_path / "colours" / "1")
    models = make("default")
    assert serves(models, "colours", 2)
    monkeypatch.setattr(settled_catalog, "SETTLE_S", 0.2)
    graph = tmp_path / "colours" / "2" / "model.onnx"
    whole = graph.read_bytes()
    graph.unlink()
    models.reconcile()
    assert models.request().result(WAIT_S).ref.version == 2
    graph.write_bytes(whole)
    models.reconcile()
    graph.unlink()
    models.reconcile()
    sleep(0.25)
    models.reconcile()
    with pytest.raises(UnknownModelError):
        models.request()


def test_beyond_the_most_that_may_be_loaded_the_least_recently_used_leaves(make: Make, tmp_path: Path) -> None:
    for name in ("a", "b", "c"):
        add_model(tmp_path, name, colour_graph())
    models = make("default", max_loaded=3)
    assert serves(models, "colours", 2)
    for name in ("a", "b", "a", "c"):
        models.request(name).result(WAIT_S)
        assert serves(models, name, 1)
        sleep(0.002)
    models.reconcile()
    assert [models.serving(name) for name in ("colours", "a", "b", "c")] == [2, 1, None, 1]


def test_an_idle_model_leaves_memory_but_never_the_default(make: Make) -> None:
    models = make("default", idle_unload_s=0.05)
    models.request("other").result(WAIT_S)
    assert serves(models, "other", 1)
    assert serves(models, "colours", 2)
    sleep(0.1)
    models.reconcile()
    assert (models.serving("other"), models.serving("colours")) == (None, 2)
    assert models.request("other").result(WAIT_S).ref.name == "other"


def test_a_version_asked_for_by_number_does_not_become_the_one_serving(make: Make) -> None:
    models = make()
    assert models.request("colours", 1).result(WAIT_S).ref.version == 1
    assert eventually(lambda: models.ready("colours", 1))
    assert models.serving("colours") is None
    assert models.request("colours").result(WAIT_S).ref.version == 2


def test_an_unloaded_version_comes_back_when_it_is_asked_for(make: Make, load: CountedLoad) -> None:
    models = make()
    models.request("other").result(WAIT_S)
    assert serves(models, "other", 1)
    models.unload("other", 1)
    assert models.serving("other") is None
    assert models.request("other").result(WAIT_S).ref.name == "other"
    assert load.counts["other", 1] == 2
