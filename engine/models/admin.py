"""What operators do to models. Every change is checked first, then written down, then followed; all or nothing."""

import asyncio
import shutil
import uuid
from collections.abc import Awaitable, Callable, Collection
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from time import time

from engine.models.check import ModelCheck
from engine.models.loaded_model import LoadedModel
from engine.models.model_manager import ModelManager
from engine.models.slot import ModelUnavailableError, loaded
from loaders.model_errors import ModelError, ModelStateError, UnknownModelError
from loaders.onnx.onnx_file import read_onnx
from loaders.repository.model_repository import MAX_NUMBER, ModelRepository, ModelVersion
from loaders.repository.model_state import ModelChoices, is_reserved
from utils.files import sync_folder

UPLOAD_PREFIX = ".upload-"
_DELETED_PREFIX = ".deleted-"
_GRAPH = "model.onnx"
_LITTER_AGE_S = 24 * 3600.0


class ModelConflictError(Exception):
    """Not possible in the present state; the message says why and what to do first."""


class InvalidModelError(Exception):
    """An uploaded model that cannot be served; nothing of it is kept."""


@dataclass(frozen=True, slots=True)
class StagedUpload:
    """A hidden folder in the models folder in which the files of one upload grow."""

    folder: Path

    @property
    def graph(self) -> Path:
        return self.folder / _GRAPH

    def discard(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)


class Act(StrEnum):
    """LOAD and UNLOAD a version, or LOOK at the folder and the state file."""

    LOAD = "load"
    UNLOAD = "unload"
    LOOK = "look"


@dataclass(frozen=True, slots=True)
class Deed:
    """What an operator has done, for other processes to do the same. `number`: the version, or 0."""

    act: Act
    name: str
    number: int = 0


# Returns when the other processes have done the same.
Followed = Callable[[Deed], Awaitable[None]]


class ModelAdmin:
    """`check` tries uploads in a process of their own; None where models are not checked.

    `followed_by` lets other processes do the same.
    """

    def __init__(
        self,
        models: ModelManager,
        repository: ModelRepository,
        check: ModelCheck | None,
        followed_by: Followed | None = None,
    ) -> None:
        self.followed_by = followed_by
        self._models = models
        self._root = repository.root
        self._check = check

    async def set_default(self, name: str) -> None:
        """Loads the model, then makes it the one that answers when none is named."""
        number = (await self.load(name, None)).ref.version
        await self._choose(lambda choices: choices.with_default(name), Deed(Act.LOAD, name, number))

    async def set_active(self, name: str, selector: int | str) -> int:
        """Loads the version, then makes it the one that answers; its number."""
        number = (await self.load(name, selector)).ref.version
        await self._choose(lambda choices: choices.with_active(name, number), Deed(Act.LOAD, name, number))
        return number

    async def unset_active(self, name: str) -> None:
        """The highest version is active again; it is swapped in when it has loaded."""
        self._models.version(name)
        await self._choose(lambda choices: choices.without_active(name), Deed(Act.LOOK, name))

    async def set_label(self, name: str, label: str, selector: int | str) -> int:
        """Loads the version, then lets the label stand for it; its number."""
        number = (await self.load(name, selector)).ref.version
        await self._choose(lambda choices: choices.with_label(name, label, number), Deed(Act.LOAD, name, number))
        return number

    async def delete_label(self, name: str, label: str) -> None:
        if label not in self._models.choices.labels.get(name, {}):
            known = sorted(self._models.choices.labels.get(name, {}))
            raise UnknownModelError(f"label {label!r} of {name}", known)
        await self._choose(lambda choices: choices.without_label(name, label), Deed(Act.LOOK, name))

    async def follow(self, deed: Deed) -> None:
        """Does what another process has done. That a version does not load here is nobody's error."""
        await asyncio.to_thread(self._models.reconcile, complete=True)  # it may not have seen the files yet
        if deed.act is Act.LOAD:
            with suppress(ModelUnavailableError, UnknownModelError):
                await self.load(deed.name, deed.number)
        elif deed.act is Act.UNLOAD:
            await asyncio.to_thread(self._models.unload, deed.name, deed.number)
        await asyncio.to_thread(self._models.reconcile, complete=True)

    async def load_again(self, name: str, selector: int | str | None) -> int:
        """Loads it though it may have crashed before; the version's number."""
        number = self._models.version(name, selector).number
        try:
            await self.load(name, number)
        finally:
            await self._tell_others(Deed(Act.LOAD, name, number))
        return number

    async def load(self, name: str, selector: int | str | None) -> LoadedModel:
        """Waits for it. Raises UnknownModelError, ModelUnavailableError."""
        return await loaded(self._models.request(name, selector))

    async def unload(self, name: str, selector: int | str | None) -> int:
        """The number of the version that leaves memory; without a selector the one serving."""
        number = self._models.version(name, selector).number
        serving = self._models.serving(name)
        if selector is None and serving is not None:
            number = serving
        if name == self._models.default and serving in (number, None):
            raise ModelConflictError(f"{name} is the default model; make another model the default first.")
        await asyncio.to_thread(self._models.unload, name, number)
        await self._tell_others(Deed(Act.UNLOAD, name, number))
        return number

    async def delete_version(self, name: str, selector: int | str) -> None:
        version = self._models.version(name, selector)
        if version.number == self._models.serving(name) or len(self._models.catalog[name]) == 1:
            raise ModelConflictError(
                f"version {version.number} is the one of {name} that serves; activate another or delete the model."
            )
        if not version.numbered:
            raise ModelConflictError(f"{name} has no folders of versions; delete the model as a whole.")
        await self._choose(lambda choices: choices.without_version(name, version.number))
        await asyncio.to_thread(self._remove, self._root / name / str(version.number))
        await self._tell_others(Deed(Act.LOOK, name))

    async def delete_model(self, name: str) -> None:
        version = self._models.version(name)
        if name == self._models.default:
            raise ModelConflictError(f"{name} is the default model; make another model the default first.")
        await self._choose(lambda choices: choices.without_model(name))
        await asyncio.to_thread(self._remove, self._root / name if version.folders else version.graph)
        if not version.folders:
            await asyncio.to_thread(version.graph.with_suffix(".toml").unlink, missing_ok=True)
        await self._tell_others(Deed(Act.LOOK, name))

    def clean_up(self) -> None:
        """Removes what processes left that were killed during an upload or a deletion, a day ago or more."""
        for path in self._root.glob(".*"):
            if (
                path.name.startswith((UPLOAD_PREFIX, _DELETED_PREFIX))
                and time() - path.lstat().st_mtime > _LITTER_AGE_S
            ):
                shutil.rmtree(path, ignore_errors=True)

    def stage(self) -> StagedUpload:
        """Raises ModelStateError where the folder cannot be written."""
        folder = self._root / f"{UPLOAD_PREFIX}{uuid.uuid4().hex}"
        try:
            folder.mkdir()
        except OSError as error:
            raise ModelStateError(f"the models folder cannot be written: {error.strerror}") from error
        return StagedUpload(folder)

    async def add_version(self, name: str, number: int | None, staged: StagedUpload) -> int:
        """Checks the staged files and moves them into place at once; the version's number, the next one if None."""
        chosen = await asyncio.to_thread(self._add_version, name, number, staged)
        await self._tell_others(Deed(Act.LOOK, name))
        return chosen

    def _add_version(self, name: str, number: int | None, staged: StagedUpload) -> int:
        known = self._models.catalog.get(name, {})
        if known and any(not version.numbered for version in known.values()):
            raise ModelConflictError(
                f"{name} is no folder with versions in it (1/model.onnx), so none can be added; choose another name."
            )
        folder = self._root / name
        if is_reserved(name) or (folder.exists() and not folder.is_dir()):
            raise ModelConflictError(f"{name} is the name of a file here; choose another.")
        chosen = self._next_number(known, folder) if number is None else number
        if (folder / str(chosen)).exists():
            raise ModelConflictError(f"{name} has a version {chosen} already; versions are not overwritten.")
        self._examine(ModelVersion(name, chosen, staged.graph, (staged.folder, folder)))
        chosen = self._put_into_place(staged, folder, chosen, is_ours=number is None)
        self._models.reconcile(complete=True)
        return chosen

    def _next_number(self, known: Collection[int], folder: Path) -> int:
        chosen = max(known, default=0) + 1
        while (folder / str(chosen)).exists():
            chosen += 1
        if chosen > MAX_NUMBER:
            raise ModelConflictError(f"there is no number after {MAX_NUMBER}; name one, with ?version=.")
        return chosen

    def _put_into_place(self, staged: StagedUpload, folder: Path, chosen: int, *, is_ours: bool) -> int:
        """A number that we chose may be taken meanwhile: then it is the next."""
        while True:
            try:
                folder.mkdir(exist_ok=True)
                staged.folder.rename(folder / str(chosen))
            except OSError as error:
                if is_ours and (folder / str(chosen)).exists():
                    chosen = self._next_number([chosen], folder)
                    continue
                raise ModelConflictError(f"version {chosen} cannot be put into place: {error.strerror}.") from error
            sync_folder(folder)
            return chosen

    def _examine(self, version: ModelVersion) -> None:
        try:
            if read_onnx(version.graph).external_files:
                raise InvalidModelError("Its weights lie in other files (external data); one file holds all here.")
            if self._check:
                self._check.examine(version)
        except ModelError as error:
            raise InvalidModelError(str(error)) from error

    async def _choose(self, change: Callable[[ModelChoices], ModelChoices], deed: Deed | None = None) -> None:
        await asyncio.to_thread(self._models.choose, change)
        if deed:
            await self._tell_others(deed)

    async def _tell_others(self, deed: Deed) -> None:
        if self.followed_by:
            await self.followed_by(deed)

    def _remove(self, path: Path) -> None:
        """Renamed first: it is gone at once for everybody who looks, however long the deleting takes."""
        grave = self._root / f"{_DELETED_PREFIX}{uuid.uuid4().hex}"
        try:
            path.rename(grave)
        except OSError as error:
            raise ModelStateError(f"the models folder cannot be written: {error.strerror}") from error
        self._models.reconcile(complete=True)
        if grave.is_dir() and not grave.is_symlink():
            shutil.rmtree(grave, ignore_errors=True)
        else:
            grave.unlink(missing_ok=True)
