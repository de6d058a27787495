"""Versions are swapped, deleted and chosen while models serve."""

import shutil
import weakref
from pathlib import Path
from time import monotonic

import pytest

from engine.models import settled_catalog
from engine.models.load_attempt import ModelState, ModelUnavailableError
from loaders.model_errors import UnknownModelError
from loaders.repository.model_state import ModelChoices
from tests.engine.models.loading import WAIT_S, CountedLoad, Make, eventually, forgotten, serves
from tests.tiny_models import add_model, colour_graph


def other_is_default(choices: ModelChoices) -> None:
    choices.default = "other"


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
    assert forgotten(old)
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


def test_changed_files_that_fail_to_load_leave_the_old_ones_serving(make: Make, tmp_path: Path) -> None:
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


def test_at_the_start_the_highest_version_that_loads_serves(make: Make, tmp_path: Path) -> None:
    for version in (3, 4):
        (add_model(tmp_path, "colours", colour_graph(), version=version) / str(version) / "model.onnx").write_bytes(b"")
    models = make("default")
    assert serves(models, "colours", 2)
    assert models.status("colours", 4).state is ModelState.UNAVAILABLE


def test_the_state_file_chooses_version_label_and_default(make: Make) -> None:
    models = make("default")
    assert serves(models, "colours", 2)
    models.choose(lambda choices: (choices.active.update(colours=1), choices.labels.update(colours={"stable": 1})))
    assert serves(models, "colours", 1)
    assert models.request("colours", "stable").result(WAIT_S).ref.version == 1
    models.choose(other_is_default)
    assert models.default == "other"
    assert serves(models, "other", 1)


def test_a_labelled_version_stays_in_memory_when_another_is_swapped_in(make: Make) -> None:
    models = make("default")
    assert serves(models, "colours", 2)
    models.choose(lambda choices: choices.set_label("colours", "stable", 2))
    models.choose(lambda choices: choices.active.update(colours=1))
    assert serves(models, "colours", 1)
    assert models.ready("colours", 2) is not None


def test_a_chosen_version_that_was_deleted_falls_back_to_the_highest(make: Make, tmp_path: Path) -> None:
    models = make("default")
    assert serves(models, "colours", 2)
    models.choose(lambda choices: choices.active.update(colours=1))
    models.choose(other_is_default)
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
    assert forgotten(gone)


def test_without_the_models_folder_loaded_models_keep_serving(make: Make, tmp_path: Path) -> None:
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


def test_files_that_are_being_written_are_not_loaded(
    make: Make, tmp_path: Path, load: CountedLoad, monkeypatch: pytest.MonkeyPatch
) -> None:
    models = make("default")
    assert serves(models, "colours", 2)
    clock = [monotonic()]
    monkeypatch.setattr(settled_catalog, "SETTLE_S", 1.0)
    monkeypatch.setattr(settled_catalog, "monotonic", lambda: clock[0])
    graph = add_model(tmp_path, "colours", colour_graph(), version=3) / "3" / "model.onnx"
    whole = graph.read_bytes()
    graph.write_bytes(whole[:100])
    models.reconcile()
    clock[0] += 0.6
    graph.write_bytes(whole)
    models.reconcile()
    assert load.counts["colours", 3] == 0
    clock[0] += 1.1
    models.reconcile()
    assert serves(models, "colours", 3)
    assert load.counts["colours", 3] == 1


def test_a_file_that_is_missing_for_a_moment_does_not_unload_its_model(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As when a graph is deleted and copied again."""
    shutil.rmtree(tmp_path / "colours" / "1")
    models = make("default")
    assert serves(models, "colours", 2)
    clock = [monotonic()]
    monkeypatch.setattr(settled_catalog, "SETTLE_S", 1.0)
    monkeypatch.setattr(settled_catalog, "monotonic", lambda: clock[0])
    graph = tmp_path / "colours" / "2" / "model.onnx"
    whole = graph.read_bytes()
    graph.unlink()
    models.reconcile()
    assert models.request().result(WAIT_S).ref.version == 2
    graph.write_bytes(whole)
    models.reconcile()
    graph.unlink()
    models.reconcile()
    clock[0] += 1.1
    models.reconcile()
    with pytest.raises(ModelUnavailableError, match=r"no graph; put the \.onnx file at 1/model\.onnx"):
        models.request()
