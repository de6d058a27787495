"""Several models and several worker processes on the same cores: no model starves another, the cores are shared."""

import asyncio
from functools import partial
from pathlib import Path

import pytest

from engine.scheduling import scheduler as scheduler_module
from engine.scheduling import scoreboard as scoreboard_module
from engine.scheduling.job import Admission
from engine.scheduling.run_context import RunContext, one_stage
from engine.scheduling.scheduler import QueueFullError, Scheduler
from engine.scheduling.scoreboard import Scoreboard
from tests.engine.scheduling.worker_threads import run, scheduling, start_job, submit
from utils.time_utils import StageTimer


async def cores(scheduler: Scheduler) -> int:
    return await scheduler.run(one_stage(lambda context: context.cores()), StageTimer())


async def assert_rejected(scheduler: Scheduler, model: str = "", concurrency: int = 0) -> None:
    with pytest.raises(QueueFullError):
        await scheduler.run(one_stage(lambda _: "never"), StageTimer(), model, concurrency=concurrency)


def test_a_slow_model_on_all_threads_does_not_block_another() -> None:
    async def test() -> None:
        with scheduling(concurrency=2, queue_limit=8) as scheduler:
            slow = [await start_job(scheduler, "slow") for _ in range(2)]
            more_slow = await submit(scheduler, model="slow")
            assert await scheduler.run(one_stage(lambda _: "fast"), StageTimer(), "fast") == "fast"
            assert not more_slow.done(), "the spare thread is for other models"
            for job, _ in slow:
                job.end.set()
            assert await more_slow == "ran"

    run(test)


def test_a_free_thread_goes_to_the_model_with_the_least_busy_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs of model a take 10 s, those of b 1 s, by a clock of the test; ten of each wait for one thread."""
    clock = [0.0]
    monkeypatch.setattr(scheduler_module, "perf_counter", lambda: clock[0])
    order: list[str] = []

    def work(name: str, seconds: float, _: RunContext) -> None:
        clock[0] += seconds
        order.append(name)

    async def test() -> None:
        with scheduling(concurrency=1, queue_limit=20) as scheduler:
            job, task = await start_job(scheduler, "a")
            spare, spare_task = await start_job(scheduler, "c")
            tasks = [await submit(scheduler, partial(work, "a", 10.0), "a") for _ in range(10)]
            tasks += [await submit(scheduler, partial(work, "b", 1.0), "b") for _ in range(10)]
            job.end.set()
            await task
            await asyncio.gather(*tasks)
            spare.end.set()
            await spare_task

    run(test)
    assert order[:12].count("b") >= 9, order


def test_the_queue_limit_is_for_each_model() -> None:
    async def test() -> None:
        with scheduling(concurrency=1, queue_limit=1) as scheduler:
            running = [await start_job(scheduler, name) for name in ("a", "b")]  # the second on the spare thread
            others = [await submit(scheduler, model=name) for name in ("a", "b", "c")]
            for name in ("a", "b", "c"):
                await assert_rejected(scheduler, name)
            for job, _ in running:
                job.end.set()
            assert await asyncio.gather(*others) == ["ran", "ran", "ran"]
            await asyncio.gather(*[task for _, task in running])

    run(test)


def test_requests_that_skip_the_queue_limit_do_not_count_towards_it() -> None:
    async def test() -> None:
        with scheduling(concurrency=1, queue_limit=1) as scheduler:
            job, task = await start_job(scheduler)
            of_batch = [
                asyncio.create_task(
                    scheduler.run(one_stage(lambda _: "of a batch"), StageTimer(), admission=Admission.UNCOUNTED)
                )
                for _ in range(5)
            ]
            await asyncio.sleep(0)
            other = await submit(scheduler)
            await assert_rejected(scheduler)
            of_batch.pop().cancel()
            await asyncio.sleep(0)
            await assert_rejected(scheduler)
            job.end.set()
            assert await asyncio.gather(task, other, *of_batch) == ["done", "ran", *["of a batch"] * 4]
            assert await scheduler.run(one_stage(lambda _: "ran"), StageTimer()) == "ran"

    run(test)


def test_a_run_uses_all_cores_when_alone_and_its_part_among_others() -> None:
    async def test() -> None:
        with scheduling(concurrency=4, queue_limit=0, cores=4) as scheduler:
            assert await cores(scheduler) == 4
            found, jobs = [], []
            for _ in range(3):
                jobs.append(await start_job(scheduler))
                found.append(await cores(scheduler))
            assert found == [2, 1, 1]
            for job, task in jobs:
                job.end.set()
                await task
            assert await cores(scheduler) == 4

    run(test)


def test_models_on_a_device_keep_the_queue_limit_and_leave_the_cores_to_others() -> None:
    async def test() -> None:
        with scheduling(concurrency=2, queue_limit=2) as scheduler:
            held = [await start_job(scheduler, name, concurrency=6) for name in ("a", "b") for _ in range(6)]
            waits = [
                scheduler.run(one_stage(lambda _: "ran"), StageTimer(), name, concurrency=6)
                for name in "ab"
                for _ in range(2)
            ]
            others = [asyncio.create_task(wait) for wait in waits]
            await asyncio.sleep(0)
            for name in ("a", "b"):
                await assert_rejected(scheduler, name, concurrency=6)
            assert await scheduler.run(one_stage(lambda _: "cpu"), StageTimer(), "cpu") == "cpu"
            for job, _ in held:
                job.end.set()
            assert await asyncio.gather(*others) == ["ran"] * 4
            await asyncio.gather(*[task for _, task in held])

    run(test)


def test_a_new_version_without_batches_has_the_concurrency_of_the_cores_again() -> None:
    async def test() -> None:
        with scheduling(concurrency=1, queue_limit=1) as scheduler:
            await scheduler.run(one_stage(lambda _: "batched"), StageTimer(), "m", concurrency=8)
            job, task = await start_job(scheduler, "m")
            other = await submit(scheduler, model="m")
            assert scheduler.queues()["m"] == (1, 1)
            job.end.set()
            assert [await task, await other] == ["done", "ran"]

    run(test)


def test_a_worker_borrows_from_idle_ones_and_shares_the_cores_with_busy_ones(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(scoreboard_module, "_REFRESH_S", 0.0)
    slot, other = (Scoreboard.open(tmp_path).claim() for _ in range(2))

    async def test() -> None:
        with scheduling(concurrency=2, queue_limit=8, cores=4, slot=slot) as scheduler:
            assert scheduler.max_concurrency == 2
            assert await cores(scheduler) == 4
            other.set_busy(1)
            assert await cores(scheduler) == 2
            first, task = await start_job(scheduler)
            assert other.others_busy() == 1
            queued = await submit(scheduler)
            assert scheduler.queues() == {"": (1, 1)}, "the concurrency of both workers is used up"
            other.set_busy(0)
            first.end.set()
            assert [await task, await queued] == ["done", "ran"]
            held = [await start_job(scheduler) for _ in range(2)]
            assert other.others_busy() == 2, "one is borrowed"
            for job, running in held:
                job.end.set()
                await running

    run(test)
    other.release()
    slot.release()


def test_the_share_of_a_worker_follows_the_number_of_live_workers(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(scoreboard_module, "_REFRESH_S", 0.0)
    slots = [Scoreboard.open(tmp_path).claim() for _ in range(4)]
    with scheduling(concurrency=8, queue_limit=8, slot=slots[0]) as scheduler:
        found = [scheduler.max_concurrency]
        for slot in slots[1:]:
            slot.release()
            found.append(scheduler.max_concurrency)
    assert found == [4, 4, 8, 8]
