"""One attempt to load a version of a model, and the error of a model that cannot answer."""

import asyncio
import math
from concurrent.futures import Future
from datetime import UTC, datetime
from enum import StrEnum
from time import monotonic

from engine.models.loaded_model import LoadedModel
from loaders.repository.model_repository import ModelKey, ModelVersion

# Minimum pause before a request retries a failed load; a load that took long is retried after a longer pause.
RETRY_FAILED_LOAD_S = 5.0
_PAUSE_PER_LOAD_SECOND = 10
_MAX_PAUSE_S = 600.0


class ModelState(StrEnum):
    """The model states of the Open Inference Protocol."""

    UNAVAILABLE = "UNAVAILABLE"
    LOADING = "LOADING"
    READY = "READY"
    UNLOADING = "UNLOADING"


class ModelUnavailableError(Exception):
    """The model exists but cannot answer now; `reason` says why, `retry_after_s` when to try again."""

    def __init__(self, name: str, reason: str, retry_after_s: float = RETRY_FAILED_LOAD_S) -> None:
        self.reason = reason
        self.retry_after_s = math.ceil(retry_after_s)
        super().__init__(f"The model {name} cannot answer: {reason}")


async def loaded(load: Future[LoadedModel]) -> LoadedModel:
    """Waits for a load that several requests share; cancelling one of them does not cancel the load.

    Raises ModelUnavailableError.
    """
    try:
        if load.done():
            return load.result()
        return await asyncio.shield(asyncio.wrap_future(load))
    except ModelUnavailableError as error:  # shared: a traceback added to it would keep this request's picture alive
        raise error.with_traceback(None) from None


class LoadAttempt:
    """Starts as LOADING and ends as READY or UNAVAILABLE; all requests for the version share the future `load`.

    `before`: the load of the version's previous files, which answers until this one is READY.
    """

    def __init__(self, version: ModelVersion, before: "LoadAttempt | None" = None) -> None:
        self.version = version
        self.before = before
        self.load: Future[LoadedModel] = Future()
        self.model: LoadedModel | None = None
        self.last_used = self._started = self._ended = monotonic()
        self._become(ModelState.LOADING)

    @property
    def key(self) -> ModelKey:
        return self.version.key

    @property
    def failed(self) -> bool:
        return self.state is ModelState.UNAVAILABLE

    @property
    def answering(self) -> "LoadAttempt | None":
        """This load or the one before it; None if neither has a model."""
        return self if self.model else self.before

    @property
    def seconds(self) -> float:
        """Duration of the load, without the time in the loading threads' queue."""
        return self._ended - self._started

    @property
    def may_retry(self) -> bool:
        """Whether the pause after a failure is over, so that a broken model does not occupy the loading threads."""
        return self.failed and monotonic() - self._ended >= self._pause_s

    @property
    def _pause_s(self) -> float:
        return min(max(RETRY_FAILED_LOAD_S, _PAUSE_PER_LOAD_SECOND * self.seconds), _MAX_PAUSE_S)

    def begin(self) -> None:
        """Called when a loading thread starts the load."""
        self._started = monotonic()

    def succeed(self, model: LoadedModel) -> None:
        """`load` gets its result later, when the model has been swapped in."""
        self.model = model
        self._become(ModelState.READY)

    def fail(self, reason: str, explanation: str = "") -> None:
        """Requests that wait for the load receive `explanation`, if it differs from the reason."""
        self.model = None
        self._become(ModelState.UNAVAILABLE, reason)
        name = f"{self.version.name} version {self.version.number}"
        self.load.set_exception(ModelUnavailableError(name, explanation or reason, self._pause_s))

    def _become(self, state: ModelState, reason: str = "") -> None:
        self.state, self.reason, self.since = state, reason, datetime.now(UTC)
        self.last_used = self._ended = monotonic()
