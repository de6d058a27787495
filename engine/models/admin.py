"""Operator actions on models: default model, active versions, labels, load, unload, upload, delete.

An action checks and acts under the models folder's lock, with a fresh scan, so that concurrent actions of any process
see each other's result. Other processes follow the state file and the folder.
"""

import asyncio
import shutil
import uuid
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from functools import partial
from pathlib import Path
from time import time
from typing import TypeVar

from engine.models.check import ModelCheck
from engine.models.load_attempt import ModelState, loaded
from engine.models.loaded_model import LoadedModel
from engine.models.model_manager import ModelManager
from loaders.model_errors import ModelError, ModelStateError, UnknownModelError
from loaders.repository.model_repository import ModelRepository, ModelVersion
from loaders.repository.model_state import STATE_FILE, ModelChoices
from loaders.repository.staged_version import STAGING_PREFIX, StagedVersion, free_version

_DELETED_PREFIX = ".deleted-"
_LEFTOVER_AGE_S = 24 * 3600.0
T = TypeVar("T")


class ModelConflictError(Exception):
    """The action is not possible in the present state; the message says why, and what to do first."""


class InvalidModelError(Exception):
    """The uploaded model cannot be served; it was not added."""


class ModelAdmin:
    """Its coroutines belong to one event loop. `check` tries uploads in a separate process; None skips that.

    Actions raise ModelStateError where the models folder cannot be written, UnknownModelError, ModelConflictError, and
    ModelUnavailableError for a version that does not load.
    """

    def __init__(self, models: ModelManager, repository: ModelRepository, check: ModelCheck | None) -> None:
        self._models = models
        self._root = repository.root
        self._check = check
        self._one_action = asyncio.Lock()

    async def set_default(self, name: str) -> None:
        """Loads the model and makes it the default."""

        def change(choices: ModelChoices, _: int) -> None:
            choices.default = name

        await self._load_then(name, partial(self._models.request, name), change)

    async def set_active(self, name: str, selector: int | str) -> int:
        """Loads a version and makes it the active one of its model; returns its number."""

        def change(choices: ModelChoices, number: int) -> None:
            self._remove_replaced(choices, name, number)
            choices.active[name] = number

        return await self._load_then(name, partial(self._models.load, name, selector), change)

    async def unset_active(self, name: str) -> None:
        """Makes the highest version the active one again; it is swapped in when it has loaded."""

        def act() -> None:
            self._models.version(name)
            self._models.choose(lambda choices: choices.active.pop(name, None))

        await self._locked(act)

    async def set_label(self, name: str, label: str, selector: int | str) -> int:
        """Loads a version and gives it the label, which any other version loses; returns the version's number."""
        return await self._load_then(
            name,
            partial(self._models.load, name, selector),
            lambda choices, number: choices.set_label(name, label, number),
        )

    async def delete_label(self, name: str, label: str) -> None:
        def act() -> None:
            labels = self._models.folder.choices.labels.get(name, {})
            if label not in labels:
                raise UnknownModelError(f"label {label!r} of {name}", sorted(labels))
            self._models.choose(lambda choices: choices.labels[name].pop(label))

        await self._locked(act)

    async def load(self, name: str, selector: int | str | None) -> int:
        """Loads a version, without a selector the active one, in every process; returns its number.

        A version that failed to load is retried at once. It is loaded again at every start, until it is unloaded,
        deleted or replaced as the active version.
        """
        return await self._load_then(
            name,
            partial(self._models.load, name, selector),
            lambda choices, number: choices.set_loaded(name, number, loaded=True),
        )

    async def unload(self, name: str, selector: int | str | None) -> int:
        """Unloads a version, without a selector the one that serves, in every process; returns its number.

        The next request for the version loads it again.
        """

        def act() -> int:
            number, serving = self._models.version(name, selector).number, self._models.serving(name)
            if selector is None and serving is not None:
                number = serving
            if name == self._models.default and serving in (number, None):
                raise ModelConflictError(f"{name} is the default model; make another model the default first.")
            self._models.choose(lambda choices: choices.set_loaded(name, number, loaded=False))
            return number

        return await self._locked(act)

    async def delete_version(self, name: str, selector: int | str) -> None:
        def act() -> Path:
            version = self._models.version(name, selector)
            self._check_deletable(version)
            hidden = self._hide(self._root / name / str(version.number))
            self._models.choose(lambda choices: choices.remove_version(*version.key))
            return hidden

        await asyncio.to_thread(_remove, await self._locked(act))

    async def delete_model(self, name: str) -> None:
        def act() -> Path:
            version = self._models.version(name)
            if name == self._models.default:
                raise ModelConflictError(f"{name} is the default model; make another model the default first.")
            hidden = self._hide(self._root / name if version.folders else version.graph)
            self._models.choose(lambda choices: choices.remove_model(name))
            if not version.folders:
                for suffix in (".toml", ".labels.txt"):
                    version.graph.with_suffix(suffix).unlink(missing_ok=True)
                if version.samples:
                    _remove(version.samples.folder)
            return hidden

        await asyncio.to_thread(_remove, await self._locked(act))

    def clean_up(self) -> None:
        """Removes what processes left that were killed during an upload or a deletion, a day ago or more."""
        for path in self._root.glob(".*"):
            with suppress(OSError):  # another process removes them, too
                leftover = path.name.startswith((STAGING_PREFIX, _DELETED_PREFIX))
                if leftover and time() - path.lstat().st_mtime > _LEFTOVER_AGE_S:
                    _remove(path)

    def stage(self) -> StagedVersion:
        """Raises ModelStateError where the folder cannot be written."""
        return StagedVersion.create(self._root)

    async def add_version(self, name: str, number: int | None, staged: StagedVersion) -> int:
        """Checks the staged files and adds them as a version, as the next one without a number; returns its number.

        Raises InvalidModelError for a model that cannot be served.
        """
        await asyncio.to_thread(self._examine, name, number, staged)
        return await self._locked(partial(self._install, name, number, staged))

    def _examine(self, name: str, number: int | None, staged: StagedVersion) -> None:
        self._models.reconcile(complete=True)
        expected = self._free_version(name, number)
        version = ModelVersion(name, expected, staged.graph, (staged.folder, self._root / name))
        try:
            staged.check_external_data()
            if self._check:
                self._check.examine(version)
        except ModelError as error:
            raise InvalidModelError(str(error)) from error

    def _install(self, name: str, number: int | None, staged: StagedVersion) -> int:
        self._free_version(name, number)
        try:
            added = staged.install(self._root / name, number)
        except OSError as error:
            raise ModelStateError(f"the models folder cannot be written: {error.strerror}") from error
        choices, before = self._models.folder.choices, self._models.catalog.get(name, {})
        if choices.loaded.get(name) and name not in choices.active and added > max(before, default=added):
            self._models.choose(lambda choices: self._remove_replaced(choices, name, added))
        return added

    def _free_version(self, name: str, number: int | None) -> int:
        """Returns the number that the new version gets. Raises ModelConflictError."""
        folder = self._root / name
        if any(not version.numbered for version in self._models.catalog.get(name, {}).values()):
            raise ModelConflictError(
                f"{name} has no version folders (1/model.onnx), so a version cannot be added; choose another name."
            )
        if name == STATE_FILE or (folder.exists() and not folder.is_dir()):
            raise ModelConflictError(f"{name} is the name of a file here; choose another.")
        try:
            return free_version(folder, number)
        except FileExistsError as error:
            raise ModelConflictError(str(error)) from error

    def _check_deletable(self, version: ModelVersion) -> None:
        """Raises ModelConflictError for a version that answers or is about to, and for the last one that can."""
        models, (name, number) = self._models, version.key
        if not version.numbered:
            raise ModelConflictError(f"{name} has no version folders; delete the model as a whole.")
        versions, serving, is_default = models.catalog[name], models.serving(name), name == models.default
        chosen = models.folder.choices.active.get(name) == number or (
            is_default and models.version(name).number == number
        )
        status = models.status(name, number)
        failed = status.state is ModelState.UNAVAILABLE and status.since is not None
        if number == serving or (chosen and not failed):
            raise ModelConflictError(
                f"version {number} of {name} is the one that answers; activate another version or delete the model."
            )
        if len(versions) == 1:
            raise ModelConflictError(f"version {number} is the last one of {name}; delete the model.")
        if is_default and (serving not in versions or models.status(name, serving).reason):
            raise ModelConflictError(
                f"{name} is the default model and no other version of it is loaded; load one first."
            )

    async def _load_then(
        self,
        name: str,
        load: Callable[[], Future[LoadedModel]],
        change: Callable[[ModelChoices, int], object],
    ) -> int:
        """Loads a version and changes the choices if it has not been deleted meanwhile; returns its number."""
        await asyncio.to_thread(self._models.reconcile, complete=True)
        number = (await loaded(load())).ref.version

        def act() -> int:
            self._models.version(name, number)
            self._models.choose(lambda choices: change(choices, number))
            return number

        return await self._locked(act)

    def _remove_replaced(self, choices: ModelChoices, name: str, active: int) -> None:
        """The version that another one replaces leaves memory, so that it is not loaded at the next start either."""
        replaced = self._models.version(name).number if name in self._models.catalog else active
        if replaced != active:
            choices.remove_loaded(name, replaced)

    async def _locked(self, act: Callable[[], T]) -> T:
        """Runs `act` in a thread under the folder's lock, with a fresh scan before and after it."""
        async with self._one_action:  # so that at most one thread waits for the lock
            return await asyncio.to_thread(self._run_locked, act)

    def _run_locked(self, act: Callable[[], T]) -> T:
        with self._models.folder.state_file.locked():
            self._models.reconcile(complete=True)
            result = act()
            self._models.reconcile(complete=True)
            return result

    def _hide(self, path: Path) -> Path:
        """Renames a file or folder, so that it is gone at once; removing it may take longer. Returns the new path."""
        hidden = self._root / f"{_DELETED_PREFIX}{uuid.uuid4().hex}"
        try:
            path.rename(hidden)
        except OSError as error:
            raise ModelStateError(f"the models folder cannot be written: {error.strerror}") from error
        return hidden


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
