"""The state file: default model, active versions, labels, and what operators loaded or unloaded.

One small JSON file beside the models, replaced atomically. It is the only channel between processes: every process
reads it at least once a second and follows it. A lock file serialises the writers of all processes.
"""

import errno
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from filelock import FileLock, Timeout
from pydantic import BaseModel, ConfigDict

from loaders.model_errors import ModelStateError, UnknownModelError
from loaders.repository.model_repository import Catalog, ModelKey, ModelVersion, find_version
from loaders.repository.names import parse_version
from utils.files import read_at_most, replace_file

STATE_FILE = "fovea-state.json"
_LOCK_FILE = ".fovea-state.lock"
_LOCK_TIMEOUT_S = 60.0
_MAX_BYTES = 1 << 20

_log = logging.getLogger("fovea.models")


class LoadChoice(BaseModel):
    """Whether an operator loaded or unloaded a version, and when: a repeated choice differs from the one before."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    loaded: bool
    at: datetime


class ModelChoices(BaseModel):
    """The choices of operators; `active`, `labels` and `loaded` have model names as keys. A label names a version."""

    model_config = ConfigDict(extra="forbid")

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

    def set_label(self, name: str, label: str, number: int) -> None:
        self.labels.setdefault(name, {})[label] = number

    def set_loaded(self, name: str, number: int, *, loaded: bool) -> None:
        self.loaded.setdefault(name, {})[number] = LoadChoice(loaded=loaded, at=datetime.now(UTC))

    def remove_loaded(self, name: str, number: int) -> None:
        self.loaded.get(name, {}).pop(number, None)

    def remove_model(self, name: str) -> None:
        """Removes all choices about a deleted model."""
        for choices in (self.active, self.labels, self.loaded):
            choices.pop(name, None)

    def remove_version(self, name: str, number: int) -> None:
        """Removes all choices about a deleted version."""
        if self.active.get(name) == number:
            del self.active[name]
        labels = self.labels.get(name, {})
        for label in [label for label in labels if labels[label] == number]:
            del labels[label]
        self.remove_loaded(name, number)


class InvalidStateFileError(OSError):
    """The file does not hold choices, as after an edit by hand."""


class ModelStateFile:
    """Reads and replaces the state file. Keeps the last valid content, so that a change can replace an invalid file."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._file = root / STATE_FILE
        self._lock = FileLock(root / _LOCK_FILE)
        self._last = ModelChoices()

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Holds the models folder's lock, exclusive between threads and processes; may be nested within a thread.

        The system releases the lock of a process that dies. Raises ModelStateError where the folder cannot be written.
        """
        try:
            if not self._root.is_dir():  # FileLock would create it
                raise FileNotFoundError(errno.ENOENT, "the folder does not exist")
            self._lock.acquire(timeout=_LOCK_TIMEOUT_S)
        except Timeout as error:
            raise ModelStateError("another process is changing the models folder; try again later") from error
        except OSError as error:
            raise ModelStateError(f"the models folder cannot be written: {error.strerror}") from error
        try:
            yield
        finally:
            self._lock.release()

    def read(self) -> ModelChoices:
        """Returns no choices for a missing file. Raises OSError for a file that cannot be read or is invalid."""
        try:
            self._last = ModelChoices.model_validate_json(read_at_most(self._file, _MAX_BYTES))
        except FileNotFoundError:
            self._last = ModelChoices()
        except ValueError as error:
            raise InvalidStateFileError(errno.EINVAL, f"{STATE_FILE} is invalid: mend or remove it") from error
        return self._last

    def update(self, change: Callable[[ModelChoices], object]) -> ModelChoices:
        """Applies `change` to the file's content; an invalid file is replaced by the last valid content and the change.

        Raises ModelStateError where the folder cannot be written.
        """
        with self.locked():
            try:
                try:
                    current = self.read()
                except InvalidStateFileError:
                    _log.warning("state file invalid, replaced by the last valid choices  file=%s", STATE_FILE)
                    current = self._last
                choices = current.model_copy(deep=True)
                change(choices)
                replace_file(self._file, choices.model_dump_json(indent=2).encode())
            except OSError as error:
                raise ModelStateError(f"the state file cannot be written: {error.strerror}") from error
        self._last = choices
        return choices
