"""Background jobs: they let all others go first, and count towards the queue limit."""

import asyncio
from functools import partial
from typing import Any

import pytest

from engine.scheduling.job import Admission
from engine.scheduling.run_context import one_stage
from engine.scheduling.scheduler import QueueFullError, Scheduler
from tests.engine.scheduling.worker_threads import Clock, run, scheduling, start_job, submit
from utils.time_utils import StageTimer


async def submit_background(scheduler: Scheduler, work: Any = lambda _: "ran", model: str = "") -> asyncio.Task[Any]:  # noqa: ANN401 - any work
    task = asyncio.create_task(scheduler.run(one_stage(work), StageTimer(), model, admission=Admission.BACKGROUND))
    await asyncio.sleep(0)
    return task


def test_requests_that_come_later_go_first() -> None:
    order: list[str] = []

    async def test() -> None:
        with scheduling(concurrency=1, queue_limit=9) as scheduler:
            job, task = await start_job(scheduler)
            background = [
                await submit_background(scheduler, lambda _, name=name: order.append(name), name)
                for name in ("", "other")
            ]
            requests = [await submit(scheduler, lambda _: order.append("request")) for _ in range(3)]
            job.end.set()
            await asyncio.gather(task, *background, *requests)

    run(test)
    assert order == ["request"] * 3 + ["", "other"]


def test_a_background_job_runs_at_once_on_an_idle_machine() -> None:
    async def test() -> None:
        with scheduling(concurrency=1, queue_limit=0) as scheduler:
            assert await (await submit_background(scheduler)) == "ran"

    run(test)


def test_the_spare_thread_is_not_for_background_jobs() -> None:
    async def test() -> None:
        with scheduling(concurrency=1, queue_limit=9) as scheduler:
            job, task = await start_job(scheduler, "slow")
            background = await submit_background(scheduler, model="fast")
            assert await (await submit(scheduler, model="fast")) == "ran"
            assert scheduler.queues() == {"slow": (0, 1), "fast": (1, 0)}
            job.end.set()
            assert [await task, await background] == ["done", "ran"]

    run(test)


def test_a_running_background_job_blocks_no_other_model() -> None:
    async def test() -> None:
        with scheduling(concurrency=1, queue_limit=9) as scheduler:
            job, task = await start_job(scheduler, "explained", admission=Admission.BACKGROUND)
            assert await (await submit(scheduler, model="other")) == "ran"
            job.end.set()
            assert await task == "done"

    run(test)


def test_background_jobs_count_towards_the_queue_limit_and_are_not_rejected_by_it() -> None:
    async def test() -> None:
        with scheduling(concurrency=1, queue_limit=2) as scheduler:
            job, task = await start_job(scheduler)
            background = [await submit_background(scheduler) for _ in range(3)]
            with pytest.raises(QueueFullError):
                scheduler.check_queue("")
            with pytest.raises(QueueFullError):
                await scheduler.run(one_stage(lambda _: "never"), StageTimer())
            job.end.set()
            assert await asyncio.gather(task, *background) == ["done", "ran", "ran", "ran"]

    run(test)


def test_a_cancelled_background_job_leaves_the_queue() -> None:
    async def test() -> None:
        with scheduling(concurrency=1, queue_limit=1) as scheduler:
            job, task = await start_job(scheduler)
            background = await submit_background(scheduler)
            background.cancel()
            with pytest.raises(asyncio.CancelledError):
                await background
            scheduler.check_queue("")
            assert scheduler.queues() == {"": (0, 1)}
            job.end.set()
            await task

    run(test)


def test_background_time_does_not_put_a_models_requests_behind_those_of_others(clock: Clock) -> None:
    """Models are compared by the time of their requests alone."""
    order: list[str] = []

    async def test() -> None:
        with scheduling(concurrency=1, queue_limit=9) as scheduler:
            job, task = await start_job(scheduler, "explained", admission=Admission.BACKGROUND)
            spare, spare_task = await start_job(scheduler, "third")
            tasks = [await submit(scheduler, partial(_note, order, name), name) for name in ("explained", "other")]
            clock.now = 100.0
            job.end.set()
            await asyncio.gather(task, *tasks)
            spare.end.set()
            await spare_task

    run(test)
    assert order == ["explained", "other"]


def _note(order: list[str], name: str, _: object) -> None:
    order.append(name)
