"""How models come and go while others are asked."""

import shutil
import weakref
from pathlib import Path
from time import sleep

import pytest

from engine.models import settled_catalog
from engine.models.load_attempt import ModelState
from loaders.model_errors import UnknownModelError
from tests.engine.models.loading import WAIT_S, CountedLoad, Make, eventually, forgotten, serves
from tests.tiny_models import add_model, colour_graph


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
    assert forgotten(gone)


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
