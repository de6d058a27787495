"""The state file: default model, active versions, labels, and what operators loaded or unloaded.

One small JSON file beside the models, replaced atomically. It is the only channel between processes: every process
reads it at least once a second and follows it. A lock file serialises the writers of all processes.
"""

import errno
import logging
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

from filelock import FileLock, Timeout
from pydantic import BaseModel, ConfigDict

from loaders.model_errors import ModelStateError, UnknownModelError
from loaders.repository.model_repository import Catalog, ModelKey, ModelVersion, find_version
from loaders.repository.names import parse_version
from utils.files import open_regular, replace_file

STATE_FILE = "fovea-state.json"
_LOCK_FILE = ".fovea-state.lock"
_LOCK_TIMEOUT_S = 60.0
_MAX_BYTES = 1 << 20
# An invalid file younger than this may be half written by an editor.
_WRITE_TIME_S = 1.0

_log = logging.getLogger("fovea.models")
K = TypeVar("K")
V = TypeVar("V")


class LoadChoice(BaseModel):
    """Whether an operator loaded or unloaded a version, and when: a repeated choice differs from the one before."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    loaded: bool
    at: datetime


class ModelChoices(BaseModel):
    """The choices of operators; `active`, `labels` and `loaded` have model names as keys. A label names a version."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    default: str | None = None
    active: dict[str, int] = {}
    labels: dict[str, dict[str, int]] = {}
    loaded: dict[str, dict[int, LoadChoice]] = {}

    @property
    def loads(self) -> dict[ModelKey, LoadChoice]:
        """`loaded` by model key."""
        return {(name, number): choice for name, own in self.loaded.items() for number, choice in own.items()}

    def version(self, catalog: Catalog, name: str, selector: int | str | None = None) -> ModelVersion:
        """Returns a version by number or label; without a selector the active one, or the highest if none is active.

        Raises UnknownModelError.
        """
        if selector is None:
            active = self.active.get(name)
            return find_version(catalog, name, active if active in catalog.get(name, {}) else None)
        number = selector if isinstance(selector, int) else parse_version(selector)
        if number is None:
            labels = self.labels.get(name, {})
            if name in catalog and selector not in labels:
                known = [*(f"version {n}" for n in sorted(catalog[name])), *sorted(labels)]
                raise UnknownModelError(f"version {selector!r} of {name}", known)
            number = labels.get(str(selector))
        return find_version(catalog, name, number)

    def with_default(self, name: str) -> "ModelChoices":
        return self.model_copy(update={"default": name})

    def with_active(self, name: str, number: int) -> "ModelChoices":
        return self.model_copy(update={"active": {**self.active, name: number}})

    def without_active(self, name: str) -> "ModelChoices":
        return self.model_copy(update={"active": _without(self.active, name)})

    def with_label(self, name: str, label: str, number: int) -> "ModelChoices":
        return self.model_copy(update={"labels": {**self.labels, name: {**self.labels.get(name, {}), label: number}}})

    def without_label(self, name: str, label: str) -> "ModelChoices":
        return self.model_copy(update={"labels": {**self.labels, name: _without(self.labels.get(name, {}), label)}})

    def with_loaded(self, name: str, number: int, *, loaded: bool) -> "ModelChoices":
        choice = LoadChoice(loaded=loaded, at=datetime.now(UTC))
        return self.model_copy(update={"loaded": {**self.loaded, name: {**self.loaded.get(name, {}), number: choice}}})

    def without_loaded(self, name: str, number: int) -> "ModelChoices":
        return self.model_copy(update={"loaded": {**self.loaded, name: _without(self.loaded.get(name, {}), number)}})

    def without_model(self, name: str) -> "ModelChoices":
        """Removes all choices about a deleted model."""
        update = {
            "active": _without(self.active, name),
            "labels": _without(self.labels, name),
            "loaded": _without(self.loaded, name),
        }
        return self.model_copy(update=update)

    def without_version(self, name: str, number: int) -> "ModelChoices":
        """Removes all choices about a deleted version."""
        labels = {label: labelled for label, labelled in self.labels.get(name, {}).items() if labelled != number}
        active = _without(self.active, name) if self.active.get(name) == number else self.active
        update = {"active": active, "labels": {**self.labels, name: labels}}
        return self.without_loaded(name, number).model_copy(update=update)


def _without(mapping: dict[K, V], key: K) -> dict[K, V]:
    return {kept: value for kept, value in mapping.items() if kept != key}


class _InvalidFileError(Exception):
    """`age_s`: seconds since the file was written."""

    def __init__(self, age_s: float) -> None:
        self.age_s = age_s


class ModelStateFile:
    """Reads and replaces the state file. Keeps the last valid content, to restore a damaged file."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._file = root / STATE_FILE
        self._lock = FileLock(root / _LOCK_FILE)
        self._last: ModelChoices | None = None

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Holds the models folder's lock, exclusive between threads and processes; may be nested within a thread.

        The system releases the lock of a process that dies. Raises ModelStateError where the folder cannot be written.
        """
        try:
            self._acquire(_LOCK_TIMEOUT_S)
        except Timeout as error:
            raise ModelStateError("another process is changing the models folder; try again later") from error
        except OSError as error:
            raise ModelStateError(f"the models folder cannot be written: {error.strerror}") from error
        try:
            yield
        finally:
            self._lock.release()

    def read(self) -> ModelChoices:
        """Returns no choices for a missing file. Puts a corrupt one aside, and restores the last content if known.

        Raises OSError for a file that cannot be read or put aside, or that may be half written at this moment.
        """
        try:
            self._last = self._read()
        except _InvalidFileError as invalid:
            if invalid.age_s < _WRITE_TIME_S:
                raise OSError(errno.EAGAIN, f"{STATE_FILE} is being written") from invalid
            self._last = self._restore()
        return self._last

    def update(self, change: Callable[[ModelChoices], ModelChoices]) -> ModelChoices:
        """Applies `change` to the file's content. Raises ModelStateError where the folder cannot be written."""
        with self.locked():
            try:
                choices = change(self.read())
                replace_file(self._file, choices.model_dump_json(indent=2).encode())
            except OSError as error:
                raise ModelStateError(f"the state file cannot be written: {error.strerror}") from error
        self._last = choices
        return choices

    def _acquire(self, timeout_s: float) -> None:
        """Raises OSError, TimeoutError."""
        if not self._root.is_dir():  # FileLock would create it
            raise FileNotFoundError(errno.ENOENT, "the folder does not exist")
        self._lock.acquire(timeout=timeout_s)

    def _read(self) -> ModelChoices:
        """Raises _InvalidFileError, OSError."""
        try:
            data, age_s = _read_regular(self._file)
        except FileNotFoundError:
            return ModelChoices()
        try:
            if len(data) > _MAX_BYTES:
                raise ValueError("too large")
            return ModelChoices.model_validate_json(data)
        except ValueError as error:
            raise _InvalidFileError(age_s) from error

    def _restore(self) -> ModelChoices:
        """Does not wait for the lock: its holder may be waiting for the caller. Raises OSError."""
        try:
            self._acquire(timeout_s=0)
        except Timeout as error:
            raise OSError(errno.EAGAIN, f"{STATE_FILE} is being written") from error
        except OSError as error:
            reason = f"{STATE_FILE} is corrupt, and the folder cannot be written: {error.strerror}"
            raise OSError(error.errno, reason) from error
        try:
            return self._read()  # another process may have restored it
        except _InvalidFileError:
            return self._put_aside()
        finally:
            self._lock.release()

    def _put_aside(self) -> ModelChoices:
        """Keeps the corrupt file under another name, and replaces it with the last content if that is known."""
        kept = self._file.with_name(f"{STATE_FILE}.corrupt-{time.time_ns()}")
        if self._last is None:
            self._file.replace(kept)
            _log.warning("state file corrupt, no choices restored  file=%s  kept_as=%s", STATE_FILE, kept.name)
            return ModelChoices()
        with suppress(OSError):  # a file system without hard links
            kept.hardlink_to(self._file)
        replace_file(self._file, self._last.model_dump_json(indent=2).encode())
        _log.warning("state file corrupt, last choices restored  file=%s  kept_as=%s", STATE_FILE, kept.name)
        return self._last


def is_reserved(name: str) -> bool:
    """Whether a model's name collides with the state file's names."""
    return name.startswith(STATE_FILE)


def _read_regular(file: Path) -> tuple[bytes, float]:
    """Returns at most _MAX_BYTES + 1 bytes, and the file's age in seconds. Raises OSError, also for a pipe."""
    with open_regular(file) as opened:
        return opened.read(_MAX_BYTES + 1), abs(time.time() - os.fstat(opened.fileno()).st_mtime)
