"""Several models on the same lanes: none starves another, and the cores are shared out."""

import asyncio
import os
from functools import partial

import pytest

from engine.scheduling import scheduler as scheduler_module
from engine.scheduling.run_context import RunContext
from engine.scheduling.scheduler import Among, QueueFullError, Scheduler
from engine.scheduling.scoreboard import make_board
from tests.engine.scheduling.worker_threads import busy, run, waiting
from utils.time_utils import StageTimer


def test_a_slow_model_that_has_all_lanes_does_not_hold_up_another() -> None:
    scheduler = Scheduler(lanes=2, queue_limit=8)

    async def test() -> None:
        slow = [await busy(scheduler, "slow") for _ in range(2)]
        more_slow = await waiting(scheduler, model="slow")
        assert await scheduler.run(lambda _: "fast", StageTimer(), "fast") == "fast"
        assert not more_slow.done(), "the spare lane is not for the model that has all others"
        for lane, _ in slow:
            lane.end.set()
        assert await more_slow == "ran"

    run(test)
    scheduler.close()


def test_a_lane_goes_to_the_model_that_had_the_least_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Model a's runs last 10 s, b's 1 s, by a clock of the test's own; ten of each wait when the lane gets free."""
    clock = [0.0]
    monkeypatch.setattr(scheduler_module, "perf_counter", lambda: clock[0])
    scheduler, order = Scheduler(lanes=1, queue_limit=20), list[str]()

    def work(name: str, seconds: float, _: RunContext) -> None:
        clock[0] += seconds
        order.append(name)

    async def test() -> None:
        lane, task = await busy(scheduler, "a")
        spare, spare_task = await busy(scheduler, "c")
        tasks = [await waiting(scheduler, partial(work, "a", 10.0), "a") for _ in range(10)]
        tasks += [await waiting(scheduler, partial(work, "b", 1.0), "b") for _ in range(10)]
        lane.end.set()
        await task
        await asyncio.gather(*tasks)
        spare.end.set()
        await spare_task

    run(test)
    scheduler.close()
    assert order[:12].count("b") >= 9, order


def test_the_queue_limit_is_for_each_model() -> None:
    scheduler = Scheduler(lanes=1, queue_limit=1)

    async def test() -> None:
        lanes = [await busy(scheduler, name) for name in ("a", "b")]  # the second on the spare lane
        others = [await waiting(scheduler, model=name) for name in ("a", "b", "c")]
        for name in ("a", "b", "c"):
            with pytest.raises(QueueFullError):
                await scheduler.run(lambda _: "never", StageTimer(), name)
        patient = asyncio.create_task(scheduler.run(lambda _: "patient", StageTimer(), "a", patient=True))
        for lane, _ in lanes:
            lane.end.set()
        assert await asyncio.gather(*others, patient) == ["ran", "ran", "ran", "patient"]
        await asyncio.gather(*[task for _, task in lanes])

    run(test)
    scheduler.close()


def test_a_run_alone_may_use_all_cores_and_one_among_many_its_share() -> None:
    scheduler = Scheduler(lanes=4, queue_limit=0, cores=4)

    async def share() -> int:
        return await scheduler.run(lambda turn: turn.cores(), StageTimer())

    async def test() -> None:
        assert await share() == 4
        shares, lanes = [], []
        for _ in range(3):
            lanes.append(await busy(scheduler))
            shares.append(await share())
        assert shares == [2, 1, 1]
        for lane, task in lanes:
            lane.end.set()
            await task
        assert await share() == 4

    run(test)
    scheduler.close()


def test_those_who_are_patient_take_nobody_s_place() -> None:
    scheduler = Scheduler(lanes=1, queue_limit=1)

    async def test() -> None:
        lane, task = await busy(scheduler)
        patient = [
            asyncio.create_task(scheduler.run(lambda _: "patient", StageTimer(), patient=True)) for _ in range(5)
        ]
        await asyncio.sleep(0)
        other = await waiting(scheduler)
        with pytest.raises(QueueFullError):
            await scheduler.run(lambda _: "never", StageTimer())
        patient.pop().cancel()
        await asyncio.sleep(0)
        with pytest.raises(QueueFullError):
            await scheduler.run(lambda _: "never", StageTimer())
        lane.end.set()
        assert await asyncio.gather(task, other, *patient) == ["done", "ran", *["patient"] * 4]
        assert await scheduler.run(lambda _: "ran", StageTimer()) == "ran"

    run(test)
    scheduler.close()


def test_models_that_batch_keep_to_the_queue_limit_and_leave_the_others_their_lanes() -> None:
    scheduler = Scheduler(lanes=2, queue_limit=2)

    async def test() -> None:
        held = [await busy(scheduler, name, lanes=6) for name in ("a", "b") for _ in range(6)]
        waits = [scheduler.run(lambda _: "ran", StageTimer(), name, lanes=6) for name in ("a", "b") for _ in range(2)]
        others = [asyncio.create_task(wait) for wait in waits]
        await asyncio.sleep(0)
        for name in ("a", "b"):
            with pytest.raises(QueueFullError):
                await scheduler.run(lambda _: "never", StageTimer(), name, lanes=6)
        assert await scheduler.run(lambda _: "cpu", StageTimer(), "cpu") == "cpu"
        for lane, _ in held:
            lane.end.set()
        assert await asyncio.gather(*others) == ["ran"] * 4
        await asyncio.gather(*[task for _, task in held])

    run(test)
    scheduler.close()


def test_a_version_that_no_longer_batches_has_the_lanes_of_the_cores_again() -> None:
    scheduler = Scheduler(lanes=1, queue_limit=1)

    async def test() -> None:
        await scheduler.run(lambda _: "batched", StageTimer(), "m", lanes=8)
        lane, task = await busy(scheduler, "m")
        other = await waiting(scheduler, model="m")
        assert not other.done()
        lane.end.set()
        assert [await task, await other] == ["done", "ran"]

    run(test)
    scheduler.close()


def test_lanes_of_idle_neighbours_are_borrowed_and_the_cores_shared_with_busy_ones() -> None:
    board, descriptor = make_board(2)
    os.close(descriptor)
    neighbour = board.place(1)
    scheduler = Scheduler(lanes=1, queue_limit=8, cores=4, among=Among(board.place(0), lanes=2, most=2))

    async def test() -> None:
        shares = await scheduler.run(lambda turn: turn.cores(), StageTimer(), "m")
        assert shares == 4
        neighbour.tell_busy(1)
        assert await scheduler.run(lambda turn: turn.cores(), StageTimer(), "m") == 2
        first, task = await busy(scheduler, "m")
        assert board.busy(0) == 1
        queued = await waiting(scheduler, model="m")
        await asyncio.sleep(0.05)
        assert not queued.done(), "both lanes of the two workers are busy"
        neighbour.tell_busy(0)
        first.end.set()
        assert [await task, await queued] == ["done", "ran"]
        held = [await busy(scheduler, "m") for _ in range(2)]
        assert board.busy(0) == 2, "the neighbour's lane is idle and may be borrowed"
        for lane, running in held:
            lane.end.set()
            await running

    run(test)
    scheduler.close()
