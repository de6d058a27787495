"""What operators have chosen: the default model, the active versions, the labels. One small file beside the models.

It is replaced atomically and fsynced, so a process that is killed at any moment leaves the old file or the new one.
Writers of several processes take turns by a lock file.
"""

import errno
import fcntl
import logging
import os
import stat
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from loaders.model_errors import ModelStateError
from utils.files import replace_file

STATE_FILE = "fovea-state.json"
_LOCK_FILE = ".fovea-state.lock"
_MAX_BYTES = 1 << 20
# An editor that writes in place leaves a file that makes no sense for a moment.
_WRITTEN_S = 1.0

_log = logging.getLogger("fovea.models")


class ModelChoices(BaseModel):
    """`active` and `labels` by model's name; a label stands for a version's number."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    default: str | None = None
    active: dict[str, int] = {}
    labels: dict[str, dict[str, int]] = {}

    def with_default(self, name: str) -> "ModelChoices":
        return self.model_copy(update={"default": name})

    def with_active(self, name: str, number: int) -> "ModelChoices":
        return self.model_copy(update={"active": {**self.active, name: number}})

    def without_active(self, name: str) -> "ModelChoices":
        return self.model_copy(update={"active": {key: n for key, n in self.active.items() if key != name}})

    def with_label(self, name: str, label: str, number: int) -> "ModelChoices":
        return self.model_copy(update={"labels": {**self.labels, name: {**self.labels.get(name, {}), label: number}}})

    def without_label(self, name: str, label: str) -> "ModelChoices":
        kept = {key: number for key, number in self.labels.get(name, {}).items() if key != label}
        return self.model_copy(update={"labels": {**self.labels, name: kept}})

    def without_model(self, name: str) -> "ModelChoices":
        """Forgets all about a model that is being deleted."""
        active = {key: number for key, number in self.active.items() if key != name}
        labels = {key: own for key, own in self.labels.items() if key != name}
        return self.model_copy(update={"active": active, "labels": labels})

    def without_version(self, name: str, number: int) -> "ModelChoices":
        """Forgets all that points to a version that is being deleted."""
        active = {key: value for key, value in self.active.items() if (key, value) != (name, number)}
        kept = {key: value for key, value in self.labels.get(name, {}).items() if value != number}
        return self.model_copy(update={"active": active, "labels": {**self.labels, name: kept}})


class _CorruptError(Exception):
    """`age_s`: seconds since somebody wrote it."""

    def __init__(self, age_s: float) -> None:
        self.age_s = age_s


class ModelStateFile:
    """Reads and replaces the state file in the models folder. Remembers what it said last, for when it is damaged."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._file = root / STATE_FILE
        self._last: ModelChoices | None = None

    def read(self) -> ModelChoices:
        """A missing file is no choice made. A corrupt one is put aside for inspection, with a warning; what it said
        last, where that is known, takes its place.

        Raises OSError for a file that cannot be read or put aside, or that somebody may be writing just now.
        """
        try:
            self._last = self._read()
        except _CorruptError as corrupt:
            if corrupt.age_s < _WRITTEN_S:
                raise OSError(errno.EAGAIN, f"{STATE_FILE} is being written") from corrupt
            self._last = self._mended()
        return self._last

    def update(self, change: Callable[[ModelChoices], ModelChoices]) -> ModelChoices:
        """Applies `change` to what the file says now. Raises ModelStateError where the folder cannot be written."""
        try:
            before = self.read()  # mends a corrupt one, which takes the lock
            with self._locked():
                with suppress(_CorruptError):  # damaged this very moment: what it said before counts
                    before = self._read()
                choices = change(before)
                self._write(choices)
                self._last = choices
                return choices
        except OSError as error:
            raise ModelStateError(f"the state file cannot be written: {error.strerror}") from error

    def _read(self) -> ModelChoices:
        """Raises _CorruptError, OSError."""
        try:
            data, age_s = _read_regular(self._file)
        except FileNotFoundError:
            return ModelChoices()
        try:
            if len(data) > _MAX_BYTES:
                raise ValueError("too large")
            return ModelChoices.model_validate_json(data)
        except ValueError as error:
            raise _CorruptError(age_s) from error

    def _write(self, choices: ModelChoices) -> None:
        replace_file(self._file, choices.model_dump_json(indent=2).encode())

    def _mended(self) -> ModelChoices:
        """Raises OSError."""
        try:
            with self._locked():
                try:
                    return self._read()  # another process was first
                except _CorruptError:
                    return self._put_aside()
        except OSError as error:
            reason = f"{STATE_FILE} is corrupt, and the folder cannot be written: {error.strerror}"
            raise OSError(error.errno, reason) from error

    def _put_aside(self) -> ModelChoices:
        """Where it is known what the file said, its name is never without one: none would be no choice made."""
        kept = self._file.with_name(f"{STATE_FILE}.corrupt-{time.time_ns()}")
        if self._last is None:
            self._file.replace(kept)
            _log.warning("%s was corrupt; it is kept as %s, the highest versions are served", STATE_FILE, kept.name)
            return ModelChoices()
        try:
            kept.hardlink_to(self._file)
        except OSError:  # a file system without such links
            self._file.replace(kept)
        self._write(self._last)
        _log.warning("%s was corrupt; it is kept as %s, what it said before is written anew", STATE_FILE, kept.name)
        return self._last

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """The kernel frees the lock of a process that dies."""
        with (self._root / _LOCK_FILE).open("a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield


def is_reserved(name: str) -> bool:
    """Whether a model of that name would lie where the state is kept."""
    return name.startswith(STATE_FILE)


def _read_regular(file: Path) -> tuple[bytes, float]:
    """Its bytes, one more than may be at the most, and its age in seconds; of nothing that could block or never end.

    Raises OSError.
    """
    handle = os.open(file, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(handle, "rb") as opened:
        status = os.fstat(handle)
        if not stat.S_ISREG(status.st_mode):
            raise OSError(errno.EINVAL, f"{STATE_FILE} is no regular file")
        return opened.read(_MAX_BYTES + 1), abs(time.time() - status.st_mtime)
