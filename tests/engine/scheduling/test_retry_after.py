"""Rejections by a full queue, and their Retry-After."""

import asyncio

import pytest

from engine.scheduling.run_context import RunContext, one_stage
from engine.scheduling.scheduler import Scheduler
from tests.engine.scheduling.worker_threads import WAIT_S, Clock, HeldJob, rejection, run, scheduling, start_job, submit
from utils.time_utils import StageTimer


def test_full_queue_is_rejected_with_its_length_and_limit(one_thread: Scheduler) -> None:
    async def test() -> None:
        job, task = await start_job(one_thread)
        others = [await submit(one_thread) for _ in range(2)]
        error = await rejection(one_thread)
        assert str(error) == "2 requests are queued for this model (limit 2); try again in 1 s."
        assert (error.waiting, error.limit, error.retry_after_s) == (2, 2, 1)
        job.end.set()
        assert [await task, *[await other for other in others]] == ["done", "ran", "ran"]

    run(test)


def test_request_without_a_queue_needs_a_free_thread() -> None:
    async def test() -> None:
        with scheduling(concurrency=2, queue_limit=0) as scheduler:
            jobs = [await start_job(scheduler) for _ in range(2)]
            await rejection(scheduler)
            for job, task in jobs:
                job.end.set()
                await task

    run(test)


@pytest.mark.parametrize(("concurrency", "retry_after_s"), [(1, 30), (2, 15)])
def test_retry_after_follows_run_time_queue_and_concurrency(clock: Clock, concurrency: int, retry_after_s: int) -> None:
    """Runs of 10 s: three waiting ones take 30 s on one thread, 15 s on two."""

    def work(_: RunContext) -> None:
        clock.now += 10.0

    async def test() -> None:
        with scheduling(concurrency, queue_limit=3) as scheduler:
            await scheduler.run(one_stage(work), StageTimer())
            running = [await start_job(scheduler) for _ in range(concurrency)]
            others = [await submit(scheduler) for _ in range(3)]
            assert (await rejection(scheduler)).retry_after_s == retry_after_s
            for job, _ in running:
                job.end.set()
            await asyncio.gather(*others, *[task for _, task in running])

    run(test)


def test_retry_after_of_a_first_run_follows_its_time_so_far(clock: Clock) -> None:
    async def test() -> None:
        with scheduling(concurrency=1, queue_limit=2) as scheduler:
            job, task = await start_job(scheduler)
            others = [await submit(scheduler) for _ in range(2)]
            clock.now = 20.0
            assert (await rejection(scheduler)).retry_after_s == 40
            job.end.set()
            await asyncio.gather(task, *others)

    run(test)


def test_retry_after_follows_the_measured_rate_of_the_queue(clock: Clock) -> None:
    """Another model has one of two threads: runs of 10 s then end every 10 s, not every 5."""

    async def test() -> None:
        with scheduling(concurrency=2, queue_limit=3) as scheduler:
            other = await start_job(scheduler, "other")
            running = [await start_job(scheduler, "mine")]
            jobs = [HeldJob() for _ in range(5)]
            waits = [await submit(scheduler, job, "mine") for job in jobs[:3]]
            for number in range(2):
                clock.now += 10.0
                running[-1][0].end.set()
                assert await asyncio.to_thread(jobs[number].started.wait, WAIT_S)
                running.append((jobs[number], waits[number]))
                waits.append(await submit(scheduler, jobs[3 + number], "mine"))
            assert (await rejection(scheduler, "mine")).retry_after_s == 30
            for job in (*jobs, other[0]):
                job.end.set()
            await asyncio.gather(other[1], *[task for _, task in running], *waits)

    run(test)
