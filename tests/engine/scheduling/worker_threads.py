"""Jobs that a test holds up on worker threads and lets end."""

import asyncio
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from threading import Event
from typing import Any

import pytest

from engine.scheduling.job import Admission
from engine.scheduling.run_context import RunContext, one_stage
from engine.scheduling.scheduler import QueueFullError, Scheduler
from engine.scheduling.scoreboard import WorkerSlot
from utils.time_utils import StageTimer

WAIT_S = 30.0


class HeldJob:
    """Work that sets `started` and runs until `end` is set."""

    def __init__(self) -> None:
        self.started, self.end = Event(), Event()

    def __call__(self, _: RunContext | None = None) -> str:
        self.started.set()
        assert self.end.wait(WAIT_S)
        return "done"


@contextmanager
def scheduling(
    concurrency: int, queue_limit: int, cores: int = 0, slot: WorkerSlot | None = None
) -> Iterator[Scheduler]:
    scheduler = Scheduler(concurrency, queue_limit, cores, slot)
    yield scheduler
    scheduler.close()


def run(test: Callable[[], Coroutine[Any, Any, None]]) -> None:
    asyncio.run(asyncio.wait_for(test(), WAIT_S))


async def start_job(
    scheduler: Scheduler, model: str = "", concurrency: int = 0, admission: Admission = Admission.COUNTED
) -> tuple[HeldJob, asyncio.Task[str]]:
    """A job that runs on a worker thread by now."""
    job = HeldJob()
    run = scheduler.run(one_stage(job), StageTimer(), model, concurrency=concurrency, admission=admission)
    task = asyncio.create_task(run)
    assert await asyncio.to_thread(job.started.wait, WAIT_S)
    return job, task


async def submit(
    scheduler: Scheduler, work: Callable[[RunContext], Any] = lambda _: "ran", model: str = ""
) -> asyncio.Task[Any]:
    """A job that the scheduler has by now, in its queue or on a thread."""
    task = asyncio.create_task(scheduler.run(one_stage(work), StageTimer(), model))
    await asyncio.sleep(0)
    return task


async def cancelled(task: asyncio.Task[Any]) -> None:
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


class Clock:
    """Replaces `perf_counter`; a test sets `now`, in seconds."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


async def rejection(scheduler: Scheduler, model: str = "") -> QueueFullError:
    """Submits a job to a full queue and returns the error."""
    with pytest.raises(QueueFullError) as error:
        await scheduler.run(one_stage(lambda _: "never"), StageTimer(), model)
    return error.value
