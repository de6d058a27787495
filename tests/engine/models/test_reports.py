"""What is logged and reported about models: failures, the default model, the catalog's snapshot."""

import logging
import shutil
from collections.abc import Iterator
from pathlib import Path
from threading import Event, Thread

import pytest

from engine.models.load_attempt import LoadAttempt, ModelState
from engine.models.model_manager import ModelManager, ModelManagerOptions
from engine.models.watch import ModelWatch
from loaders.model_errors import UnknownModelError
from loaders.repository.model_repository import ModelRepository
from tests.engine.models.loading import WAIT_S, CountedLoad, Make, eventually, fails, serves
from tests.tiny_models import SPEC, add_model, colour_graph


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "models"


@pytest.fixture
def manager(folder: Path) -> Iterator[ModelManager]:
    """Its default model is `colours`; the folder is empty."""
    folder.mkdir()
    made = ModelManager(ModelRepository(folder), CountedLoad(), ModelManagerOptions("colours"))
    yield made
    made.close()


def test_a_failed_load_names_the_file_and_what_keeps_serving(
    make: Make, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    models = make("default")
    assert serves(models, "colours", 2)
    folder = add_model(tmp_path, "colours", colour_graph(), version=3) / "3"
    (folder / "model.toml").write_text(SPEC.replace("[8, 8]", '"x"'))
    models.reconcile()
    assert eventually(lambda: models.status("colours", 3).state is ModelState.UNAVAILABLE)
    reason = models.status("colours", 3).reason or ""
    assert reason.startswith("colours/3/model.toml: preprocess.size: ")
    assert reason.endswith("; version 2 keeps serving")
    assert fails(models, "colours", 3).reason == reason
    assert 'model failed to load  model=colours  version=3  serving=2  detail="colours/3/model.toml: ' in caplog.text
    assert models.status("colours", 2).reason is None


def test_changed_files_that_fail_to_load_name_what_keeps_serving(make: Make, tmp_path: Path) -> None:
    models = make("default")
    assert serves(models, "colours", 2)
    (tmp_path / "colours" / "labels.txt").write_text("only\ntwo\n")
    models.reconcile()
    assert eventually(lambda: models.status("colours", 2).reason)
    assert str(models.status("colours", 2).reason).endswith("; its previous files keep serving")


def test_a_loaded_model_is_logged_with_its_providers(make: Make, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        assert serves(make("default"), "colours", 2)
        expected = "model loaded  model=colours  version=2  providers=CPUExecutionProvider  seconds="
        assert eventually(lambda: expected in caplog.text)


class FailsToSwap(ModelManager):
    """Stands for a bug in swapping: version 3 loads and cannot be swapped in."""

    def _serve(self, attempt: LoadAttempt) -> None:
        if attempt.version.number == 3:
            raise ZeroDivisionError
        super()._serve(attempt)


def test_a_version_that_loads_and_cannot_be_swapped_in_says_why(
    make: Make, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    make()
    models = FailsToSwap(ModelRepository(tmp_path), CountedLoad(), ModelManagerOptions("colours"))
    models.reconcile()
    assert serves(models, "colours", 2)
    add_model(tmp_path, "colours", colour_graph(), version=3)
    models.reconcile()
    assert eventually(lambda: models.status("colours", 3).state is ModelState.UNAVAILABLE)
    models.reconcile()
    report = models.report("colours")
    assert (report.active, report.serving) == (3, 2)
    expected = "ZeroDivisionError while loading; see the log; version 2 keeps serving"
    assert report.versions[-1].reason == expected
    assert "Traceback" in caplog.text
    models.close()


def test_loads_that_wait_when_the_service_stops_fail(make: Make, load: CountedLoad, tmp_path: Path) -> None:
    for name in ("a", "b", "c"):
        add_model(tmp_path, name, colour_graph())
    models = make()
    load.go.clear()
    loads = [models.request(name) for name in ("a", "b", "c")]
    assert eventually(lambda: load.counts.total() == 2)
    models.close()
    assert "shutting down" in str(loads[-1].exception(WAIT_S))


def test_an_error_while_following_the_folder_is_reported_until_it_is_over(
    make: Make, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    models = make()

    def fail(_: ModelRepository) -> None:
        raise ZeroDivisionError

    watch = ModelWatch(models.reconcile)
    with monkeypatch.context() as patched:
        patched.setattr(ModelRepository, "scan", fail)
        watch.start()
        assert eventually(lambda: models.folder_error)
        assert models.folder_error == "ZeroDivisionError while following the models folder; see the log"
        assert eventually(lambda: "Traceback" in caplog.text)
    assert eventually(lambda: not models.folder_error)
    watch.stop()


def test_a_missing_default_model_is_logged_with_the_models_there_are(
    manager: ModelManager, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    add_model(folder, "a", colour_graph())
    add_model(folder, "b", colour_graph())
    for _ in range(3):
        manager.reconcile()
    assert caplog.text.count("default model not found  models=a, b  API_DEFAULT_MODEL=colours") == 1
    assert manager.default == "colours"
    with pytest.raises(UnknownModelError):
        manager.request()


def test_the_only_model_of_the_folder_is_the_default_and_stays_it(
    manager: ModelManager, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    manager.reconcile()
    assert "default model not found  models=none" in caplog.text
    with caplog.at_level(logging.INFO):
        add_model(folder, "only", colour_graph())
        manager.reconcile(complete=True)
    assert "using the only model  model=only  API_DEFAULT_MODEL=colours" in caplog.text
    assert manager.request().result(WAIT_S).ref.name == "only"
    add_model(folder, "another", colour_graph())
    manager.reconcile(complete=True)
    assert manager.default == "only"
    add_model(folder, "colours", colour_graph())
    manager.reconcile(complete=True)
    assert manager.default == "colours"


def test_another_model_does_not_replace_a_default_model_that_was_deleted(manager: ModelManager, folder: Path) -> None:
    """A client that names no model must not get another model's answers."""
    add_model(folder, "colours", colour_graph())
    add_model(folder, "other", colour_graph())
    manager.reconcile()
    shutil.rmtree(folder / "colours")
    manager.reconcile(complete=True)
    assert manager.default == "colours"
    with pytest.raises(UnknownModelError):
        manager.request()


def test_the_snapshot_has_every_version_with_status_and_labels(make: Make, tmp_path: Path) -> None:
    models = make("default")
    assert serves(models, "colours", 2)
    models.choose(lambda choices: (choices.active.update(colours=2), choices.labels.update(colours={"stable": 1})))
    add_model(tmp_path, "no name", colour_graph())
    models.reconcile(complete=True)
    snapshot = models.snapshot()
    assert (snapshot.default, list(snapshot.invalid)) == ("colours", ["no name"])
    assert [model.name for model in snapshot.models] == ["broken", "colours", "other"]
    colours = snapshot.models[1]
    assert colours == models.report("colours")
    assert (colours.default, colours.active, colours.pinned, colours.serving) == (True, 2, True, 2)
    states = [(version.version, version.state, version.labels) for version in colours.versions]
    assert states == [(1, ModelState.UNAVAILABLE, ["stable"]), (2, ModelState.READY, [])]


def test_a_snapshot_never_fails_while_models_come_and_go(make: Make, tmp_path: Path) -> None:
    models, done = make(), Event()

    def come_and_go() -> None:
        for _ in range(20):
            add_model(tmp_path, "guest", colour_graph())
            models.reconcile(complete=True)
            shutil.rmtree(tmp_path / "guest")
            models.reconcile(complete=True)
        done.set()

    thread = Thread(target=come_and_go)
    thread.start()
    while not done.is_set():
        assert {model.name for model in models.snapshot().models} >= {"broken", "colours", "other"}
    thread.join()
