"""One request on a worker thread, for the coroutine that waits for its result."""

import asyncio
import logging
from collections.abc import Callable
from enum import Enum, auto
from time import perf_counter
from typing import Any, Generic, TypeVar

from engine.scheduling.run_context import RunContext
from utils.time_utils import QUEUE, StageTimer

T = TypeVar("T")
Work = Callable[[RunContext], T]

_log = logging.getLogger("fovea.scheduler")


class WorkerThreadError(Exception):
    """Raised when a worker thread breaks down while it runs a request, or has been shut down."""


class Admission(Enum):
    """How the queue limit treats a job.

    COUNTED: it counts, and is rejected above. UNCOUNTED: neither; the caller bounds its jobs itself. BACKGROUND: one of
    the many short jobs of a long request, which `check_queue` admitted: it counts, is not rejected, and lets others go
    first.
    """

    COUNTED = auto()
    UNCOUNTED = auto()
    BACKGROUND = auto()


class Job(RunContext, Generic[T]):
    """The context of its own work. `future` belongs to the event loop; the scheduler's lock guards the rest.

    `hung`: its thread has been replaced. `on_cores`: it counts towards the concurrency of the cores.
    """

    def __init__(
        self,
        work: Work[T],
        model: str,
        timer: StageTimer,
        cores: Callable[[], int],
        admission: Admission,
    ) -> None:
        super().__init__(timer, cores)
        self.work, self.model = work, model
        self.counts_in_queue = admission is not Admission.UNCOUNTED
        self.background = admission is Admission.BACKGROUND
        self.loop = asyncio.get_running_loop()
        self.future: asyncio.Future[T] | None = self.loop.create_future()
        self.queued_at = perf_counter()
        self.started_at: float | None = None
        self.done = self.hung = self.on_cores = False

    def outcome(self) -> tuple[T | None, Exception | None]:
        """Run the work, in a worker thread; return its result or its error."""
        assert self.started_at is not None  # noqa: S101 - the scheduler has started it
        self.timer.add(QUEUE, self.queued_at, self.started_at)
        work, self.work = self.work, _no_work  # to free here what it holds: a swapped-out model takes up to 100 ms
        try:
            return work(self), None
        except StopIteration:  # a future cannot carry it
            return None, WorkerThreadError("the work ended with StopIteration")
        except Exception as error:  # noqa: BLE001 - passed on to the caller
            return None, error
        except BaseException as error:  # noqa: BLE001 - SystemExit from a library must not end the worker thread
            _log.exception("worker thread broke down error=%s", type(error).__name__)
            return None, WorkerThreadError(f"the worker thread broke down: {type(error).__name__}")
        finally:
            del self  # an error's traceback would hold it

    def deliver(self, result: T | None, error: BaseException | None) -> None:
        """Hand the outcome to the event loop, which may be closed by now."""
        if (future := self.future) is None:  # the caller was cancelled
            return
        try:
            self.loop.call_soon_threadsafe(_settle, future, result, error)
        except RuntimeError:
            _log.debug("event loop closed before the outcome of a job")

    def drop_references(self) -> None:
        """Free the picture that `work` holds, even if a hung thread keeps the job."""
        self.future = None
        self.work = _no_work


def _no_work(_: RunContext) -> Any:  # noqa: ANN401 - stands in for work of any type
    """The work of a request that has its answer or was cancelled."""


def _settle(future: "asyncio.Future[Any]", result: object, error: BaseException | None) -> None:
    if future.done():
        return
    if error is None:
        future.set_result(result)
    else:
        future.set_exception(error)
