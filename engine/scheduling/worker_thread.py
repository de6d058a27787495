"""Worker threads and the jobs that they run for coroutines."""

import asyncio
import logging
from collections.abc import Callable
from queue import SimpleQueue
from threading import Thread
from time import perf_counter
from typing import Any, Generic, TypeVar

from engine.scheduling.run_context import RunContext
from utils.time_utils import QUEUE

T = TypeVar("T")
Work = Callable[[RunContext], T]
Outcome = Callable[["asyncio.Future[Any]"], object]  # sets the result or the exception of a future

_log = logging.getLogger("fovea.scheduler")


class WorkerThreadError(Exception):
    """Raised when a worker thread breaks down while it runs a request, or has been shut down."""


class Job(Generic[T]):
    """One request. `future` belongs to the event loop; the scheduler's lock guards the rest.

    `hung`: its thread has been replaced. `on_cores`: it counts towards the concurrency of the cores.
    """

    def __init__(self, work: Work[T], model: str, context: RunContext, *, counts_in_queue: bool) -> None:
        self.work, self.model, self.context, self.counts_in_queue = work, model, context, counts_in_queue
        self.loop = asyncio.get_running_loop()
        self.future: asyncio.Future[T] | None = self.loop.create_future()
        self.queued_at = perf_counter()
        self.started_at: float | None = None
        self.done = self.hung = self.on_cores = False

    def outcome(self) -> Outcome:
        """Run the work, in a worker thread."""
        assert self.started_at is not None  # noqa: S101 - the scheduler has started it
        self.context.timer.add(QUEUE, self.started_at - self.queued_at)
        try:
            result = self.work(self.context)
        except StopIteration:  # a future cannot carry it
            return _failure(WorkerThreadError("the work ended with StopIteration"))
        except Exception as error:  # noqa: BLE001 - passed on to the caller
            return _failure(error)
        except BaseException as error:  # noqa: BLE001 - SystemExit from a library must not end the worker thread
            _log.exception("worker thread broke down error=%s", type(error).__name__)
            return _failure(WorkerThreadError(f"the worker thread broke down: {type(error).__name__}"))
        finally:
            del self  # an error's traceback would hold it
        return lambda future: future.set_result(result)

    def deliver(self, outcome: Outcome) -> None:
        """Hand the outcome to the event loop, which may be closed by now."""
        if (future := self.future) is None:  # the caller was cancelled
            return
        try:
            self.loop.call_soon_threadsafe(_settle, future, outcome)
        except RuntimeError:
            _log.debug("event loop closed before the outcome of a job")

    def drop_references(self) -> None:
        """Free the picture that `work` holds, even if a hung thread keeps the job."""
        self.future = None
        self.work = _no_work


class WorkerThread(Thread):
    """`inbox`: its next job; None ends it."""

    def __init__(self, run_jobs: Callable[["WorkerThread"], None]) -> None:
        super().__init__(name="worker", daemon=True)
        self.inbox: SimpleQueue[Job[Any] | None] = SimpleQueue()
        self._run_jobs = run_jobs

    def run(self) -> None:
        self._run_jobs(self)


def _no_work(_: RunContext) -> Any:  # noqa: ANN401 - stands in for work of any type
    """The work of a request that has its answer or was cancelled."""


def _failure(error: Exception) -> Outcome:
    return lambda future: future.set_exception(error)


def _settle(future: "asyncio.Future[Any]", outcome: Outcome) -> None:
    if not future.done():
        outcome(future)
