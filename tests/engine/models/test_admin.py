"""Concurrent operator actions, and how other processes follow them."""

import asyncio
import multiprocessing
import multiprocessing.synchronize
import shutil
from collections.abc import Awaitable, Callable, Iterator
from itertools import permutations
from pathlib import Path
from threading import Barrier

import pytest
from filelock import FileLock

from engine.models.admin import ModelAdmin, ModelConflictError
from engine.models.load_attempt import ModelState, ModelUnavailableError
from engine.models.load_policy import LoadPolicy
from engine.models.model_manager import ModelManager, ModelManagerOptions
from engine.models.watch import ModelWatch
from loaders.model_errors import ModelStateError, UnknownModelError
from loaders.repository.model_repository import ModelRepository
from loaders.repository.model_state import ModelStateFile
from loaders.repository.staged_version import StagedVersion
from tests.engine.models.loading import WAIT_S, CountedLoad, Make, eventually, serves
from tests.tiny_models import add_model, colour_graph

Action = Callable[[ModelAdmin], Awaitable[object]]

ACTIONS: dict[str, Action] = {
    "activate 1": lambda admin: admin.set_active("colours", 1),
    "delete 1": lambda admin: admin.delete_version("colours", 1),
    "delete 2": lambda admin: admin.delete_version("colours", 2),
}


@pytest.fixture
def models(make: Make) -> ModelManager:
    made = make("default")
    assert serves(made, "colours", 2)
    return made


@pytest.fixture
def admin(models: ModelManager, tmp_path: Path) -> ModelAdmin:
    return ModelAdmin(models, ModelRepository(tmp_path), None)


@pytest.fixture
def another(tmp_path: Path) -> Iterator[Callable[[str], ModelManager]]:
    """Makes managers on the same folder, as other processes have them."""
    made: list[ModelManager] = []

    def make_another(policy: str = "default") -> ModelManager:
        options = ModelManagerOptions("colours", LoadPolicy(policy))
        made.append(ModelManager(ModelRepository(tmp_path), CountedLoad(), options))
        made[-1].reconcile()
        return made[-1]

    yield make_another
    for manager in made:
        manager.close()


async def attempt(action: Action, admin: ModelAdmin) -> bool:
    """Returns whether the action was granted."""
    try:
        await action(admin)
    except (ModelConflictError, ModelUnavailableError, UnknownModelError):
        return False
    return True


def assert_the_default_model_answers(root: Path) -> None:
    """As a process finds it that starts now."""
    versions = ModelRepository(root).scan().catalog["colours"]
    assert ModelStateFile(root).read().active.get("colours", max(versions)) in versions
    models = ModelManager(ModelRepository(root), CountedLoad(), ModelManagerOptions("colours"))
    models.reconcile()
    try:
        assert models.request().result(WAIT_S).ref.version in versions
    finally:
        models.close()


@pytest.mark.parametrize("names", list(permutations(ACTIONS)), ids=", ".join)
@pytest.mark.parametrize("concurrent", [False, True], ids=["one by one", "concurrently"])
def test_no_order_of_actions_deletes_the_last_version_of_the_default_model(
    admin: ModelAdmin, tmp_path: Path, names: tuple[str, ...], concurrent: bool
) -> None:
    async def act() -> list[bool]:
        if concurrent:
            return list(await asyncio.gather(*(attempt(ACTIONS[name], admin) for name in names)))
        return [await attempt(ACTIONS[name], admin) for name in names]

    granted = asyncio.run(act())
    assert any(granted)
    assert not all(granted)
    assert_the_default_model_answers(tmp_path)


def _act_in_a_process(root: Path, names: list[str], start: multiprocessing.synchronize.Barrier) -> None:
    models = ModelManager(ModelRepository(root), CountedLoad(), ModelManagerOptions("colours"))
    models.reconcile()
    models.request().result(WAIT_S)
    admin = ModelAdmin(models, ModelRepository(root), None)

    async def act() -> None:
        start.wait(WAIT_S)
        await asyncio.gather(*(attempt(ACTIONS[name], admin) for name in names))

    asyncio.run(act())
    models.close()


@pytest.mark.slow
@pytest.mark.usefixtures("make")
def test_two_processes_never_delete_the_last_version_of_the_default_model(tmp_path: Path) -> None:
    spawn = multiprocessing.get_context("spawn")
    start = spawn.Barrier(2)
    tasks = (["activate 1", "delete 2"], ["delete 1", "delete 2", "activate 1"])
    processes = [spawn.Process(target=_act_in_a_process, args=(tmp_path, names, start)) for names in tasks]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
        assert process.exitcode == 0
    assert_the_default_model_answers(tmp_path)


def test_a_version_that_failed_to_load_may_be_deleted_though_it_is_active(
    admin: ModelAdmin, models: ModelManager, tmp_path: Path
) -> None:
    (add_model(tmp_path, "colours", colour_graph(), version=3) / "3" / "model.onnx").write_bytes(b"no graph")
    models.reconcile(complete=True)
    assert eventually(lambda: models.status("colours", 3).state is ModelState.UNAVAILABLE)
    asyncio.run(admin.delete_version("colours", 3))
    assert sorted(models.catalog["colours"]) == [1, 2]
    assert models.serving("colours") == 2


def test_the_version_that_serves_is_kept_while_its_files_on_disk_are_broken(
    admin: ModelAdmin, models: ModelManager, tmp_path: Path
) -> None:
    (tmp_path / "colours" / "2" / "model.onnx").write_bytes(b"no graph")
    models.reconcile(complete=True)
    assert eventually(lambda: models.status("colours", 2).reason)
    with pytest.raises(ModelConflictError, match="no other version of it is loaded"):
        asyncio.run(admin.delete_version("colours", 1))


def test_a_model_deleted_during_its_load_does_not_become_the_default(
    admin: ModelAdmin, models: ModelManager, load: CountedLoad, another: Callable[[], ModelManager], tmp_path: Path
) -> None:
    elsewhere = ModelAdmin(another(), ModelRepository(tmp_path), None)

    async def act() -> None:
        load.go.clear()
        setting = asyncio.create_task(admin.set_default("other"))
        await asyncio.to_thread(eventually, lambda: load.counts["other", 1])
        await elsewhere.delete_model("other")
        load.go.set()
        with pytest.raises((UnknownModelError, ModelUnavailableError)):
            await setting

    asyncio.run(act())
    assert models.default == "colours"


def test_an_action_that_waits_for_the_lock_leaves_the_event_loop_free(admin: ModelAdmin, tmp_path: Path) -> None:
    async def act() -> None:
        held = Barrier(2)

        def hold() -> None:
            with FileLock(tmp_path / ".fovea-state.lock"):
                held.wait(WAIT_S)
                held.wait(WAIT_S)

        holding = asyncio.create_task(asyncio.to_thread(hold))
        await asyncio.to_thread(held.wait, WAIT_S)
        action = asyncio.create_task(admin.set_label("colours", "stable", 2))
        done, _ = await asyncio.wait({action}, timeout=0.2)
        assert not done
        await asyncio.to_thread(held.wait, WAIT_S)
        assert await action == 2
        await holding

    asyncio.run(act())


def test_without_the_folder_an_action_fails_and_the_folder_is_not_created(
    admin: ModelAdmin, models: ModelManager, tmp_path: Path
) -> None:
    tmp_path.rename(tmp_path.with_name("away"))
    with pytest.raises(ModelStateError, match="cannot be written"):
        asyncio.run(admin.set_active("colours", 2))
    assert not tmp_path.exists()
    assert models.serving("colours") == 2
    tmp_path.with_name("away").rename(tmp_path)


def test_what_an_operator_loads_and_unloads_other_processes_follow(
    admin: ModelAdmin, another: Callable[[], ModelManager]
) -> None:
    other = another()
    for _ in range(2):  # a repeated action is followed, too
        asyncio.run(admin.load("other", None))
        other.reconcile()
        assert serves(other, "other", 1)
        asyncio.run(admin.unload("other", None))
        other.reconcile()
        assert other.serving("other") is None
        assert other.request("other").result(WAIT_S).ref.version == 1
        assert serves(other, "other", 1)


def test_a_watching_process_follows_without_being_called(
    admin: ModelAdmin, another: Callable[[], ModelManager]
) -> None:
    other = another()
    watch = ModelWatch(other.reconcile)
    watch.start()
    try:
        asyncio.run(admin.load("other", None))
        assert serves(other, "other", 1)
        asyncio.run(admin.set_active("colours", 1))
        assert serves(other, "colours", 1)
        asyncio.run(admin.unload("other", None))
        assert serves(other, "other", None)
    finally:
        watch.stop()


def test_a_repeated_unload_drops_what_a_request_has_loaded_again(
    admin: ModelAdmin, models: ModelManager, another: Callable[[], ModelManager]
) -> None:
    other = another()
    for _ in range(2):
        for manager in (models, other):
            assert manager.request("other").result(WAIT_S)
            assert serves(manager, "other", 1)
        asyncio.run(admin.unload("other", 1))
        other.reconcile()
        assert (models.serving("other"), other.serving("other")) == (None, None)


def test_an_unload_elsewhere_leaves_the_version_that_serves_the_default_model(
    admin: ModelAdmin, another: Callable[[], ModelManager], tmp_path: Path
) -> None:
    """The other process serves version 1, because version 2 failed there."""
    (tmp_path / "colours" / "2" / "model.onnx").write_bytes(b"no graph")
    other = another()
    assert serves(other, "colours", 1)
    asyncio.run(admin.unload("colours", 1))
    other.reconcile()
    assert other.serving("colours") == 1


def test_a_loaded_version_is_loaded_again_at_the_start_until_it_is_unloaded(
    admin: ModelAdmin, another: Callable[..., ModelManager]
) -> None:
    asyncio.run(admin.load("colours", 1))
    asyncio.run(admin.load("other", None))
    restarted = another("on-demand")
    assert eventually(lambda: restarted.ready("colours", 1) and restarted.ready("other"))
    asyncio.run(admin.unload("other", None))
    restarted = another("all")
    assert eventually(lambda: restarted.ready("colours") and restarted.ready("colours", 1))
    assert restarted.status("other", 1).since is None


def test_a_loaded_version_that_is_replaced_is_not_loaded_at_the_next_start(
    admin: ModelAdmin, another: Callable[..., ModelManager]
) -> None:
    asyncio.run(admin.load("colours", 2))
    asyncio.run(admin.set_active("colours", 1))
    restarted = another("default")
    assert serves(restarted, "colours", 1)
    assert restarted.status("colours", 2).since is None


def test_an_operator_s_load_retries_a_failed_version_at_once(
    admin: ModelAdmin, load: CountedLoad, tmp_path: Path
) -> None:
    for _ in range(2):
        with pytest.raises(ModelUnavailableError):
            asyncio.run(admin.load("broken", 1))
    assert load.counts["broken", 1] == 2
    assert ModelStateFile(tmp_path).read().loaded == {}
    add_model(tmp_path, "broken", colour_graph())
    assert asyncio.run(admin.load("broken", None)) == 1


def test_a_version_added_elsewhere_is_known_at_once(admin: ModelAdmin, tmp_path: Path) -> None:
    add_model(tmp_path, "colours", colour_graph(), version=7)
    assert asyncio.run(admin.set_active("colours", 7)) == 7


def stage(admin: ModelAdmin, root: Path) -> StagedVersion:
    staged = admin.stage()
    shutil.copyfile(root / "colours" / "1" / "model.onnx", staged.graph)
    return staged


def test_concurrent_uploads_get_different_numbers(admin: ModelAdmin, tmp_path: Path) -> None:
    async def add() -> list[int]:
        uploads = (admin.add_version("colours", None, stage(admin, tmp_path)) for _ in range(5))
        return list(await asyncio.gather(*uploads))

    assert sorted(asyncio.run(add())) == [3, 4, 5, 6, 7]
    assert not list(tmp_path.glob(".upload-*"))


def test_a_loaded_version_that_an_upload_replaces_is_not_loaded_at_the_next_start(
    admin: ModelAdmin, tmp_path: Path
) -> None:
    asyncio.run(admin.load("colours", 2))
    asyncio.run(admin.load("colours", 1))
    asyncio.run(admin.add_version("colours", None, stage(admin, tmp_path)))
    assert list(ModelStateFile(tmp_path).read().loads) == [("colours", 1)]
