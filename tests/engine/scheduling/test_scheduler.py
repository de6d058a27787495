"""Who runs, who waits, who is turned away: events decide when work ends, never the clock."""

import asyncio
from collections.abc import Iterator
from functools import partial
from itertools import count
from threading import Event

import pytest

from engine.scheduling import scheduler as scheduler_module
from engine.scheduling.run_context import RunContext
from engine.scheduling.scheduler import QueueFullError, Scheduler, WorkerThreadError
from loaders.model_errors import RunStoppedError
from tests.engine.models.loading import eventually
from tests.engine.scheduling.worker_threads import WAIT_S, Lane, busy, run, waiting
from utils.time_utils import QUEUE, StageTimer

PAUSE_S = 0.05
SLEEP_MAY_END_EARLY_MS = 5.0


def _note(order: list[int], number: int, _: RunContext) -> None:
    order.append(number)


@pytest.fixture
def one_lane() -> Iterator[Scheduler]:
    scheduler = Scheduler(lanes=1, queue_limit=2)
    yield scheduler
    scheduler.close()


def test_work_gives_its_result(one_lane: Scheduler) -> None:
    async def test() -> None:
        assert await one_lane.run(lambda _: 42, StageTimer()) == 42

    run(test)


@pytest.mark.parametrize("error", [ValueError("bad"), TimeoutError("work's own"), KeyError("k")])
def test_what_work_raises_passes_through_and_frees_the_lane(one_lane: Scheduler, error: Exception) -> None:
    def fail(_: RunContext) -> None:
        raise error

    async def test() -> None:
        with pytest.raises(type(error)) as raised:
            await one_lane.run(fail, StageTimer())
        assert (type(raised.value), raised.value.args) == (type(error), error.args)
        assert await one_lane.run(lambda _: 42, StageTimer()) == 42

    run(test)


def test_a_full_queue_turns_the_next_one_away_at_once(one_lane: Scheduler) -> None:
    async def test() -> None:
        lane, task = await busy(one_lane)
        others = [await waiting(one_lane) for _ in range(2)]
        with pytest.raises(QueueFullError, match="2 requests are waiting") as error:
            await one_lane.run(lambda _: "never", StageTimer())
        assert (error.value.waiting, error.value.retry_after_s) == (2, 1)
        lane.end.set()
        assert [await task, *[await other for other in others]] == ["done", "ran", "ran"]

    run(test)


def test_without_a_queue_only_a_free_lane_takes_work() -> None:
    scheduler = Scheduler(lanes=2, queue_limit=0)

    async def test() -> None:
        lanes = [await busy(scheduler) for _ in range(2)]
        with pytest.raises(QueueFullError):
            await scheduler.run(lambda _: "never", StageTimer())
        for lane, task in lanes:
            lane.end.set()
            await task

    run(test)
    scheduler.close()


@pytest.mark.parametrize(("lanes", "most"), [(1, 30), (2, 15)])
def test_the_time_to_retry_follows_run_time_queue_and_lanes(
    monkeypatch: pytest.MonkeyPatch, lanes: int, most: int
) -> None:
    """Runs of 10 s by a clock that moves only when looked at: 3 waiting take 30 s on one lane, 15 s on two."""
    ticks = count(step=5)
    monkeypatch.setattr(scheduler_module, "perf_counter", lambda: float(next(ticks)))
    scheduler = Scheduler(lanes, queue_limit=3)

    async def test() -> None:
        for _ in range(60):
            await scheduler.run(lambda _: next(ticks), StageTimer())
        running = [await busy(scheduler) for _ in range(lanes)]
        others = [await waiting(scheduler) for _ in range(3)]
        with pytest.raises(QueueFullError) as error:
            await scheduler.run(lambda _: "never", StageTimer())
        assert 0.8 * most <= error.value.retry_after_s <= most
        for lane, _ in running:
            lane.end.set()
        await asyncio.gather(*others, *[task for _, task in running])

    run(test)
    scheduler.close()


def test_a_model_that_has_never_ended_a_run_is_waited_for_as_long_as_it_has_run_already(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = 0.0
    monkeypatch.setattr(scheduler_module, "perf_counter", lambda: now)
    scheduler = Scheduler(lanes=1, queue_limit=2)

    async def test() -> None:
        nonlocal now
        lane, task = await busy(scheduler)
        others = [await waiting(scheduler) for _ in range(2)]
        now = 20.0
        with pytest.raises(QueueFullError) as error:
            await scheduler.run(lambda _: "never", StageTimer())
        assert error.value.retry_after_s == 40
        lane.end.set()
        await asyncio.gather(task, *others)

    run(test)
    scheduler.close()


def test_the_time_to_retry_follows_how_fast_places_really_get_free(monkeypatch: pytest.MonkeyPatch) -> None:
    """One of two lanes is another model's: runs of 10 s then make room every 10 s, not every 5."""
    now = 0.0
    monkeypatch.setattr(scheduler_module, "perf_counter", lambda: now)
    scheduler = Scheduler(lanes=2, queue_limit=3)

    async def test() -> None:
        nonlocal now
        other = await busy(scheduler, "other")
        running = [await busy(scheduler, "mine")]
        lanes = [Lane() for _ in range(5)]
        waits = [await waiting(scheduler, lane, "mine") for lane in lanes[:3]]
        for number in range(2):
            now += 10.0
            running[-1][0].end.set()
            assert await asyncio.to_thread(lanes[number].started.wait, WAIT_S)
            running.append((lanes[number], waits[number]))
            waits.append(await waiting(scheduler, lanes[3 + number], "mine"))
        with pytest.raises(QueueFullError) as error:
            await scheduler.run(lambda _: "never", StageTimer(), "mine")
        assert error.value.retry_after_s == 30
        for lane in lanes:
            lane.end.set()
        other[0].end.set()
        await asyncio.gather(other[1], *[task for _, task in running], *waits)

    run(test)
    scheduler.close()


def test_first_come_first_served() -> None:
    order: list[int] = []
    scheduler = Scheduler(lanes=1, queue_limit=20)

    async def test() -> None:
        lane, task = await busy(scheduler)
        works = [partial(_note, order, number) for number in range(20)]
        others = [asyncio.create_task(scheduler.run(work, StageTimer())) for work in works]
        await asyncio.sleep(0)
        lane.end.set()
        await asyncio.gather(task, *others)

    run(test)
    scheduler.close()
    assert order == list(range(20))


def test_a_waiter_who_gives_up_leaves_the_queue_and_his_place_is_free(one_lane: Scheduler) -> None:
    ran: list[str] = []

    def gave_up(_: RunContext) -> str:
        ran.append("gave up")
        return "never"

    async def test() -> None:
        lane, task = await busy(one_lane)
        gives_up = await waiting(one_lane, gave_up)
        stays = await waiting(one_lane)
        gives_up.cancel()
        with pytest.raises(asyncio.CancelledError):
            await gives_up
        follows = await waiting(one_lane)
        with pytest.raises(QueueFullError):
            await one_lane.run(lambda _: "never", StageTimer())
        lane.end.set()
        assert [await task, await stays, await follows] == ["done", "ran", "ran"]

    run(test)
    assert ran == []


def test_a_caller_who_gives_up_while_running_goes_on_and_the_lane_frees_when_the_run_ends(one_lane: Scheduler) -> None:
    async def test() -> None:
        lane, task = await busy(one_lane)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert not lane.end.is_set()
        others = [await waiting(one_lane) for _ in range(2)]
        with pytest.raises(QueueFullError):  # the lane is still taken
            await one_lane.run(lambda _: "never", StageTimer())
        lane.end.set()
        assert [await other for other in others] == ["ran", "ran"]

    run(test)


def test_the_wait_is_recorded_as_queue_time(one_lane: Scheduler) -> None:
    timer, at_once = StageTimer(), StageTimer()

    async def test() -> None:
        lane, task = await busy(one_lane)
        waits = asyncio.create_task(one_lane.run(lambda _: "ran", timer))
        await asyncio.sleep(PAUSE_S)
        lane.end.set()
        await asyncio.gather(task, waits)
        await one_lane.run(lambda _: "ran", at_once)

    run(test)
    assert timer.as_ms()[QUEUE] >= PAUSE_S * 1e3 - SLEEP_MAY_END_EARLY_MS
    assert at_once.as_ms()[QUEUE] < timer.as_ms()[QUEUE]


def test_after_a_storm_every_place_is_free_again() -> None:
    """Runs that end, raise, are cancelled waiting or running, and are turned away: the same number fits as at first."""
    scheduler = Scheduler(lanes=2, queue_limit=3)

    def fail(_: RunContext) -> str:
        raise ValueError

    async def storm() -> None:
        tasks = [await waiting(scheduler, fail if number % 3 else lambda _: "ran") for number in range(40)]
        for task in tasks[::2]:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def test() -> None:
        for _ in range(20):
            await storm()
        running = [await busy(scheduler) for _ in range(2)]
        others = [await waiting(scheduler) for _ in range(3)]
        assert not any(other.done() for other in others)
        with pytest.raises(QueueFullError):
            await scheduler.run(lambda _: "never", StageTimer())
        for lane, _ in running:
            lane.end.set()
        assert await asyncio.gather(*others) == ["ran"] * 3

    run(test)
    scheduler.close()


def test_lanes_run_side_by_side_and_no_more_of_them() -> None:
    scheduler = Scheduler(lanes=3, queue_limit=1)

    async def test() -> None:
        running = [await busy(scheduler) for _ in range(3)]
        fourth = Lane()
        waits = await waiting(scheduler, fourth)
        assert not fourth.started.wait(PAUSE_S)
        running[1][0].end.set()
        assert await asyncio.to_thread(fourth.started.wait, WAIT_S)
        for lane in (running[0][0], running[2][0], fourth):
            lane.end.set()
        await asyncio.gather(waits, *[task for _, task in running])

    run(test)
    scheduler.close()


def test_a_model_that_runs_on_a_device_has_lanes_beyond_the_cores() -> None:
    scheduler = Scheduler(lanes=1, queue_limit=0)

    async def test() -> None:
        on_device = [await busy(scheduler, "device", lanes=3) for _ in range(3)]
        with pytest.raises(QueueFullError):
            await scheduler.run(lambda _: "never", StageTimer(), "device", lanes=3)
        assert await scheduler.run(lambda _: "cores", StageTimer(), "cpu") == "cores"
        for lane, task in on_device:
            lane.end.set()
            await task

    run(test)
    scheduler.close()


def test_a_caller_who_gives_up_stops_his_run(one_lane: Scheduler) -> None:
    ended: list[str] = []
    began = Event()

    def until_stopped(turn: RunContext) -> None:
        began.set()
        while True:
            try:
                turn.go_on()
            except RunStoppedError:
                ended.append("stopped")
                raise

    async def test() -> None:
        task = await waiting(one_lane, until_stopped)
        await asyncio.to_thread(began.wait)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert await one_lane.run(lambda _: 42, StageTimer()) == 42

    run(test)
    assert ended == ["stopped"]


def test_a_lane_that_hangs_is_replaced(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr(scheduler_module, "LOST_AFTER_S", 0.01)
    scheduler = Scheduler(lanes=1, queue_limit=0)

    async def test() -> None:
        for _ in range(3):
            lane, task = await busy(scheduler)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            await asyncio.to_thread(eventually, lambda: "hangs" in caplog.text)
            caplog.clear()
            assert await scheduler.run(lambda _: 42, StageTimer()) == 42, "another has taken its place"
            lane.end.set()  # the lost one comes back, too late
        running = [await busy(scheduler, name) for name in ("", "spare")]
        with pytest.raises(QueueFullError):
            await scheduler.run(lambda _: "never", StageTimer(), "third")
        for lane, task in running:
            lane.end.set()
            await task

    run(test)
    scheduler.close()


def test_after_many_lanes_were_lost_the_next_is_replaced_when_one_of_them_comes_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(scheduler_module, "LOST_AFTER_S", 0.01)
    monkeypatch.setattr(scheduler_module, "_MOST_LOST", 1)
    scheduler = Scheduler(lanes=1, queue_limit=1)

    async def test() -> None:
        lanes = []
        for _ in range(2):
            lane, task = await busy(scheduler)
            task.cancel()
            lanes.append(lane)
            await asyncio.sleep(PAUSE_S)
        waits = await waiting(scheduler)
        await asyncio.sleep(PAUSE_S)
        assert not waits.done(), "the second one hangs, too, and that is one too many"
        lanes[0].end.set()
        assert await waits == "ran"
        lanes[1].end.set()

    run(test)
    scheduler.close()


@pytest.mark.parametrize("end", [SystemExit(3), KeyboardInterrupt(), GeneratorExit()])
def test_what_would_end_a_thread_does_not_end_a_lane(one_lane: Scheduler, end: BaseException) -> None:
    def fail(_: RunContext) -> None:
        raise end

    async def test() -> None:
        for _ in range(3):
            with pytest.raises(WorkerThreadError, match=type(end).__name__):
                await one_lane.run(fail, StageTimer())
        assert await one_lane.run(lambda _: 42, StageTimer()) == 42

    run(test)


def test_after_the_end_nothing_waits_for_ever() -> None:
    scheduler = Scheduler(lanes=1, queue_limit=4)

    async def test() -> None:
        lane, task = await busy(scheduler)
        waits = await waiting(scheduler)
        closing = asyncio.create_task(asyncio.to_thread(scheduler.close))
        with pytest.raises(asyncio.CancelledError):
            await waits
        lane.end.set()
        await closing
        assert await task == "done"
        with pytest.raises(WorkerThreadError):
            await scheduler.run(lambda _: "never", StageTimer())

    run(test)
