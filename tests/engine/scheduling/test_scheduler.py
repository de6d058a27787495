"""Order, cancellation and hung runs of one model, with a clock of the tests."""

import asyncio
from collections.abc import Callable
from functools import partial
from threading import Event
from typing import NoReturn

import pytest

from engine.scheduling import scheduler as scheduler_module
from engine.scheduling.job import WorkerThreadError
from engine.scheduling.run_context import RunContext, one_stage
from engine.scheduling.scheduler import QueueFullError, Scheduler
from loaders.model_errors import RunStoppedError
from tests.engine.models.loading import eventually
from tests.engine.scheduling.worker_threads import (
    WAIT_S,
    Clock,
    HeldJob,
    cancelled,
    rejection,
    run,
    scheduling,
    start_job,
    submit,
)
from utils.time_utils import QUEUE, StageTimer


def raiser(error: BaseException) -> Callable[[RunContext], NoReturn]:
    def fail(_: RunContext) -> NoReturn:
        raise error

    return fail


def test_run_returns_the_result(one_thread: Scheduler) -> None:
    async def test() -> None:
        assert await one_thread.run(one_stage(lambda _: 42), StageTimer()) == 42

    run(test)


@pytest.mark.parametrize("error", [ValueError("bad"), TimeoutError("of the work"), KeyError("k")])
def test_run_raises_the_error_of_the_job(one_thread: Scheduler, error: Exception) -> None:
    async def test() -> None:
        with pytest.raises(type(error)) as raised:
            await one_thread.run(one_stage(raiser(error)), StageTimer())
        assert (type(raised.value), raised.value.args) == (type(error), error.args)
        assert await one_thread.run(one_stage(lambda _: 42), StageTimer()) == 42

    run(test)


def test_requests_run_in_arrival_order() -> None:
    order: list[int] = []

    def note(number: int, _: RunContext) -> None:
        order.append(number)

    async def test() -> None:
        with scheduling(concurrency=1, queue_limit=20) as scheduler:
            job, task = await start_job(scheduler)
            others = [await submit(scheduler, partial(note, number)) for number in range(20)]
            job.end.set()
            await asyncio.gather(task, *others)

    run(test)
    assert order == list(range(20))


def test_cancelled_waiting_request_leaves_the_queue(one_thread: Scheduler) -> None:
    ran: list[str] = []

    async def test() -> None:
        job, task = await start_job(one_thread)
        gives_up = await submit(one_thread, lambda _: ran.append("gave up"))
        stays = await submit(one_thread)
        await cancelled(gives_up)
        follows = await submit(one_thread)
        await rejection(one_thread)
        job.end.set()
        assert [await task, await stays, await follows] == ["done", "ran", "ran"]

    run(test)
    assert ran == []


def test_cancelled_running_request_keeps_its_thread_until_it_ends(one_thread: Scheduler) -> None:
    async def test() -> None:
        job, task = await start_job(one_thread)
        await cancelled(task)
        assert not job.end.is_set()
        others = [await submit(one_thread) for _ in range(2)]
        await rejection(one_thread)
        job.end.set()
        assert [await other for other in others] == ["ran", "ran"]

    run(test)


def test_cancelling_a_request_stops_its_run(one_thread: Scheduler) -> None:
    ended: list[str] = []
    began = Event()

    def until_stopped(context: RunContext) -> None:
        began.set()
        while True:
            try:
                context.stop.check()
            except RunStoppedError:
                ended.append("stopped")
                raise

    async def test() -> None:
        task = await submit(one_thread, until_stopped)
        await asyncio.to_thread(began.wait)
        await cancelled(task)
        assert await one_thread.run(one_stage(lambda _: 42), StageTimer()) == 42

    run(test)
    assert ended == ["stopped"]


def test_wait_for_a_thread_is_queue_time(clock: Clock, one_thread: Scheduler) -> None:
    waited, at_once = StageTimer(), StageTimer()

    async def test() -> None:
        job, task = await start_job(one_thread)
        waits = asyncio.create_task(one_thread.run(one_stage(lambda _: "ran"), waited))
        await asyncio.sleep(0)
        clock.now += 3.0
        job.end.set()
        await asyncio.gather(task, waits)
        await one_thread.run(one_stage(lambda _: "ran"), at_once)

    run(test)
    assert (waited.as_ms()[QUEUE], at_once.as_ms()[QUEUE]) == (3000.0, 0.0)


def test_capacity_is_unchanged_after_failed_and_cancelled_runs() -> None:
    async def test() -> None:
        with scheduling(concurrency=2, queue_limit=3) as scheduler:
            for _ in range(20):
                works = [raiser(ValueError()) if number % 3 else lambda _: "ran" for number in range(40)]
                tasks = [await submit(scheduler, work) for work in works]
                for task in tasks[::2]:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)
            running = [await start_job(scheduler) for _ in range(2)]
            others = [await submit(scheduler) for _ in range(3)]
            assert scheduler.queues() == {"": (3, 2)}
            await rejection(scheduler)
            for job, _ in running:
                job.end.set()
            assert await asyncio.gather(*others) == ["ran"] * 3

    run(test)


def test_concurrency_limits_the_runs_at_once() -> None:
    async def test() -> None:
        with scheduling(concurrency=3, queue_limit=1) as scheduler:
            running = [await start_job(scheduler) for _ in range(3)]
            fourth = HeldJob()
            waits = await submit(scheduler, fourth)
            assert scheduler.queues() == {"": (1, 3)}
            running[1][0].end.set()
            assert await asyncio.to_thread(fourth.started.wait, WAIT_S)
            for job in (running[0][0], running[2][0], fourth):
                job.end.set()
            await asyncio.gather(waits, *[task for _, task in running])

    run(test)


def test_model_on_a_device_may_have_more_in_flight_than_cores() -> None:
    async def test() -> None:
        with scheduling(concurrency=1, queue_limit=0) as scheduler:
            on_device = [await start_job(scheduler, "device", concurrency=3) for _ in range(3)]
            with pytest.raises(QueueFullError):
                await scheduler.run(one_stage(lambda _: "never"), StageTimer(), "device", concurrency=3)
            assert await scheduler.run(one_stage(lambda _: "cores"), StageTimer(), "cpu") == "cores"
            for job, task in on_device:
                job.end.set()
                await task

    run(test)


def test_hung_thread_is_replaced(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr(scheduler_module, "HUNG_AFTER_S", 0.01)

    async def test() -> None:
        with scheduling(concurrency=1, queue_limit=0) as scheduler:
            for _ in range(3):
                job, task = await start_job(scheduler)
                await cancelled(task)
                await asyncio.to_thread(eventually, lambda: "hangs" in caplog.text)
                caplog.clear()
                assert await scheduler.run(one_stage(lambda _: 42), StageTimer()) == 42
                job.end.set()  # the hung run ends after all
            running = [await start_job(scheduler, name) for name in ("", "spare")]
            await rejection(scheduler, "third")
            for job, task in running:
                job.end.set()
                await task

    run(test)


@pytest.mark.parametrize("end", [SystemExit(3), KeyboardInterrupt(), GeneratorExit()])
def test_exception_that_ends_threads_is_a_worker_thread_error(one_thread: Scheduler, end: BaseException) -> None:
    async def test() -> None:
        for _ in range(3):
            with pytest.raises(WorkerThreadError, match=type(end).__name__):
                await one_thread.run(one_stage(raiser(end)), StageTimer())
        assert await one_thread.run(one_stage(lambda _: 42), StageTimer()) == 42

    run(test)


def test_close_cancels_queued_requests_and_waits_for_running_ones() -> None:
    scheduler = Scheduler(concurrency=1, queue_limit=4)

    async def test() -> None:
        job, task = await start_job(scheduler)
        waits = await submit(scheduler)
        closing = asyncio.create_task(asyncio.to_thread(scheduler.close))
        with pytest.raises(asyncio.CancelledError):
            await waits
        job.end.set()
        await closing
        assert await task == "done"
        with pytest.raises(WorkerThreadError):
            await scheduler.run(one_stage(lambda _: "never"), StageTimer())

    run(test)
