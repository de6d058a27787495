"""The models that are loaded, and the one thread that loads them.

A model is loaded once, when first asked for. A load that failed is tried again on the next request, but not before
`RETRY_FAILED_LOAD_S` has passed: a broken model must not keep the loading thread busy.
"""

import logging
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from threading import Lock
from time import monotonic

from engine.live_model import LiveModel
from loaders.model_errors import ModelError
from loaders.model_repository import ModelRepository, ModelVersion

_log = logging.getLogger("fovea.models")

RETRY_FAILED_LOAD_S = 5.0


class ModelState(StrEnum):
    """The Open Inference Protocol's words."""

    UNAVAILABLE = "UNAVAILABLE"
    LOADING = "LOADING"
    READY = "READY"


@dataclass(frozen=True, slots=True)
class ModelStatus:
    state: ModelState
    reason: str | None = None
    since: datetime = field(default_factory=lambda: datetime.now(UTC))


class ModelUnavailableError(Exception):
    """The model is there but cannot answer now: its load failed with `reason`."""

    def __init__(self, name: str, reason: str) -> None:
        self.reason = reason
        self.retry_after_s = int(RETRY_FAILED_LOAD_S)
        super().__init__(f"The model {name} cannot answer: {reason}")


@dataclass(slots=True)
class _Entry:
    load: Future[LiveModel]
    status: ModelStatus
    asked: float = field(default_factory=monotonic)

    @property
    def may_retry(self) -> bool:
        failed = self.status.state is ModelState.UNAVAILABLE
        return failed and monotonic() - self.asked >= RETRY_FAILED_LOAD_S


class LiveModels:
    """Finds a model by name and version, and loads it when it is first asked for."""

    def __init__(self, repository: ModelRepository, load: Callable[[ModelVersion], LiveModel], default: str) -> None:
        self.repository = repository
        self.default = default
        self._load = load
        self._loading_thread = ThreadPoolExecutor(1, thread_name_prefix="model-loader")
        self._lock = Lock()
        self._entries: dict[tuple[str, int | None], _Entry] = {}

    def request(self, name: str | None = None, number: int | None = None) -> Future[LiveModel]:
        """The model, ready or still loading; without a name the default, without a number its highest version.

        Shared by all who ask, so it must not be cancelled. It fails with ModelUnavailableError.
        Raises UnknownModelError at once.
        """
        asked = (name or self.default, number)
        entry = self._entries.get(asked)
        if entry is None or entry.may_retry:
            entry = self._start(asked)
        return entry.load

    def status(self, name: str, number: int | None = None) -> ModelStatus | None:
        """None for a model that nobody has asked for."""
        entry = self._entries.get((name, number))
        return entry.status if entry else None

    def ready(self, name: str | None = None, number: int | None = None) -> LiveModel | None:
        """The model if it could run right now."""
        entry = self._entries.get((name or self.default, number))
        return entry.load.result() if entry and entry.status.state is ModelState.READY else None

    def close(self) -> None:
        self._loading_thread.shutdown(wait=False, cancel_futures=True)

    def _start(self, asked: tuple[str, int | None]) -> _Entry:
        """One load for all who ask at the same time, under the name they used and under the version's own."""
        version = self.repository.find(*asked)
        own = (version.name, version.number)
        with self._lock:
            entry = self._entries.get(own)
            if entry is None or entry.may_retry:
                entry = _Entry(Future(), ModelStatus(ModelState.LOADING))
                self._loading_thread.submit(self._fill, entry, version)
            self._entries[own] = self._entries[asked] = entry
            return entry

    def _fill(self, entry: _Entry, version: ModelVersion) -> None:
        try:
            model = self._load(version)
        except Exception as error:  # noqa: BLE001 - whatever a model's files make the runtime raise, the model is at fault
            entry.status = ModelStatus(ModelState.UNAVAILABLE, _reason(error))
            _log.exception("model %s version %s was not loaded", version.name, version.number)
            entry.load.set_exception(ModelUnavailableError(version.name, _reason(error)))
        else:
            entry.load.set_result(model)
            entry.status = ModelStatus(ModelState.READY)


def _reason(error: Exception) -> str:
    """Our own errors are fit to be shown; of others only the class, since their text may hold paths."""
    return str(error) if isinstance(error, ModelError) else f"{type(error).__name__} while loading; the log has more"
