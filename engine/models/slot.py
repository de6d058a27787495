"""One attempt to have a version of a model in memory, and what became of it."""

import asyncio
import math
from concurrent.futures import Future
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from time import monotonic

from engine.models.loaded_model import LoadedModel
from loaders.repository.model_repository import ModelVersion

# A failed load is tried again on a request after this pause at the least; one that took long, after a longer one.
RETRY_FAILED_LOAD_S = 5.0
_PAUSE_PER_SECOND_SPENT = 10
_LONGEST_PAUSE_S = 600.0


class ModelState(StrEnum):
    """The Open Inference Protocol's words."""

    UNAVAILABLE = "UNAVAILABLE"
    LOADING = "LOADING"
    READY = "READY"
    UNLOADING = "UNLOADING"


@dataclass(frozen=True, slots=True)
class ModelStatus:
    """`since` is UTC; None where nothing has happened yet."""

    state: ModelState
    reason: str | None = None
    since: datetime | None = field(default_factory=lambda: datetime.now(UTC))


class ModelUnavailableError(Exception):
    """The model is there but cannot answer now: its load failed with `reason`."""

    def __init__(self, name: str, reason: str, retry_after_s: float = RETRY_FAILED_LOAD_S) -> None:
        self.reason = reason
        self.retry_after_s = math.ceil(retry_after_s)
        super().__init__(f"The model {name} cannot answer: {reason}")


async def loaded(load: Future[LoadedModel]) -> LoadedModel:
    """A load belongs to all who wait for it: the shield keeps it going when one of them gives up.

    Raises ModelUnavailableError.
    """
    try:
        if load.done():
            return load.result()
        return await asyncio.shield(asyncio.wrap_future(load))
    except ModelUnavailableError as error:  # shared too: what one raise adds to it would hold that one's picture
        raise error.with_traceback(None) from None


class Slot:
    """Starts as LOADING and ends as READY or UNAVAILABLE; `load` is shared by all who wait for it.

    `is_fallback`: it stands in for the active version, which could not be loaded.
    """

    def __init__(self, version: ModelVersion, *, is_fallback: bool = False) -> None:
        self.version = version
        self.is_fallback = is_fallback
        self.load: Future[LoadedModel] = Future()
        self.status = ModelStatus(ModelState.LOADING)
        self.last_used = monotonic()
        self._started = monotonic()
        self._ended = 0.0

    @property
    def key(self) -> tuple[str, int]:
        return self.version.name, self.version.number

    @property
    def may_retry(self) -> bool:
        """A broken model must not keep the loading threads busy."""
        failed = self.status.state is ModelState.UNAVAILABLE
        return failed and monotonic() - self._ended >= self._pause_s

    @property
    def _pause_s(self) -> float:
        spent_s = self._ended - self._started
        return min(max(RETRY_FAILED_LOAD_S, _PAUSE_PER_SECOND_SPENT * spent_s), _LONGEST_PAUSE_S)

    def begin(self) -> None:
        """A loading thread has taken it up."""
        self._started = monotonic()

    def succeed(self, model: LoadedModel) -> None:
        self.load.set_result(model)
        self.last_used = monotonic()
        self.status = ModelStatus(ModelState.READY)

    def fail(self, reason: str) -> None:
        self._ended = monotonic()
        self.status = ModelStatus(ModelState.UNAVAILABLE, reason)
        who = f"{self.version.name} version {self.version.number}"
        self.load.set_exception(ModelUnavailableError(who, reason, self._pause_s))
