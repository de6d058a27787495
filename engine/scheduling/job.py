"""One request on a worker thread, for the coroutine that waits for its result."""

import asyncio
import logging
from collections.abc import Callable, Iterable, Sequence
from enum import Enum, auto
from time import perf_counter
from typing import Any, Generic, TypeVar

from engine.scheduling.run_context import RunContext, Stages
from utils.time_utils import QUEUE, StageTimer

T = TypeVar("T")
Work = Callable[[RunContext], Stages[T]]
Outcome = tuple[T | None, BaseException | None]

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

    `together`: the jobs that its worker thread has taken at once, itself included; empty before and afterwards.
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
        self.queued_at = self._waits_since = perf_counter()
        self.started_at: float | None = None
        self.together: list[Job[Any]] = []
        self.done = self.hung = self.on_cores = False
        self.outcome: Outcome[T] = None, None
        self._stages: Stages[T] | None = None

    def run_stage(self) -> bool:
        """Run the next stage, in a worker thread. Returns whether another follows; `outcome` is set after the last."""
        self.timer.add(QUEUE, self._waits_since, perf_counter())
        try:
            if self._stages is None:
                # freed here is what it holds: a swapped-out model takes up to 100 ms
                work, self.work = self.work, _no_work
                self._stages = work(self)
            next(self._stages)
            self._waits_since = perf_counter()
            return True
        except StopIteration as end:
            self.outcome = end.value, None
        except Exception as error:  # noqa: BLE001 - passed on to the caller
            self.outcome = None, error
        except BaseException as error:  # noqa: BLE001 - SystemExit from a library must not end the worker thread
            _log.exception("worker thread broke down error=%s", type(error).__name__)
            self.outcome = None, WorkerThreadError(f"the worker thread broke down: {type(error).__name__}")
        self._stages = None
        return False

    def drop_references(self) -> None:
        """Free the picture that `work` holds, even if a hung thread keeps the job."""
        self.future = None
        self.work = _no_work


def run_together(jobs: Iterable[Job[Any]]) -> None:
    """Run each stage of all jobs before the next: its code and constants are in the processor's caches by then."""
    while jobs:
        jobs = [job for job in jobs if job.run_stage()]


def deliver(jobs: Sequence[Job[Any]]) -> None:
    """Hand the outcomes of jobs of one event loop to it, which may be closed by now."""
    settled = [(job.future, *job.outcome) for job in jobs if job.future]  # None: the caller was cancelled
    for job in jobs:
        job.outcome = None, None  # an error's traceback refers to its job
    if not settled:
        return
    try:
        jobs[0].loop.call_soon_threadsafe(_settle, settled)
    except RuntimeError:
        _log.debug("event loop closed before the outcome of a job")


def _no_work(_: RunContext) -> Any:  # noqa: ANN401 - stands in for work of any type
    """The work of a request that has its answer or was cancelled."""


def _settle(settled: "Sequence[tuple[asyncio.Future[Any], Any, BaseException | None]]") -> None:
    for future, result, error in settled:
        if future.done():
            continue
        if error is None:
            future.set_result(result)
        else:
            future.set_exception(error)
