"""Several waiting requests of a fast model that one worker thread takes at once."""

import asyncio
from collections.abc import Callable, Sequence
from functools import partial
from threading import Event
from typing import Any

import pytest

from engine.scheduling import scheduler as scheduler_module
from engine.scheduling.job import Admission
from engine.scheduling.run_context import RunContext, Stages
from engine.scheduling.scheduler import TOGETHER, TOGETHER_S, Scheduler
from tests.engine.models.loading import eventually
from tests.engine.scheduling.worker_threads import WAIT_S, Clock, cancelled, run, scheduling, start_job
from utils.time_utils import DECODE, QUEUE, StageTimer

FAST_S = TOGETHER_S / 10

Work = Callable[[RunContext], Stages[Any]]


async def queued_behind_a_run(
    scheduler: Scheduler, clock: Clock, run_s: float, works: Sequence[Work], admissions: Sequence[Admission] = ()
) -> list[asyncio.Task[Any]]:
    """Tasks of requests that waited for a run of `run_s` seconds, which has ended."""
    job, first = await start_job(scheduler)
    tasks = [
        asyncio.create_task(scheduler.run(work, StageTimer(), admission=admission))
        for work, admission in zip(works, admissions or [Admission.COUNTED] * len(works), strict=True)
    ]
    await asyncio.sleep(0)
    clock.now += run_s
    job.end.set()
    await first
    return tasks


def noted(order: list[tuple[str, int]], number: int, _: RunContext) -> Stages[int]:
    order.append(("decode", number))
    yield
    order.append(("run", number))
    return number


def quick(_: RunContext) -> Stages[str]:
    yield
    return "quick"


@pytest.mark.parametrize(
    ("run_s", "waiting", "together"),
    [(FAST_S, 2, 1), (FAST_S, 3, 2), (FAST_S, 5, 3), (FAST_S, 40, TOGETHER), (TOGETHER_S / 2, 40, 2), (1.0, 40, 1)],
)
def test_the_more_requests_wait_the_more_a_thread_takes_through_each_stage(
    clock: Clock, run_s: float, waiting: int, together: int
) -> None:
    order: list[tuple[str, int]] = []

    async def test() -> None:
        with scheduling(concurrency=1, queue_limit=64) as scheduler:
            works = [partial(noted, order, number) for number in range(waiting)]
            tasks = await queued_behind_a_run(scheduler, clock, run_s, works)
            assert await asyncio.gather(*tasks) == list(range(waiting))

    run(test)
    taken = range(together)
    assert order[: 2 * together] == [("decode", n) for n in taken] + [("run", n) for n in taken]


@pytest.mark.parametrize(
    ("kinds", "groups"),
    [
        ("bbbbbb", ["bbbb", "bb"]),
        ("bbbrrr", ["rr", "bbb", "r"]),
        ("rbbb", ["r", "bbb"]),
        ("bbbbbbrrr", ["rr", "bbbb", "r", "bb"]),
    ],
)
def test_pictures_of_batches_run_together_and_take_turns_with_requests(
    clock: Clock, kinds: str, groups: list[str]
) -> None:
    """`kinds`: in the order of their arrival, b is a picture of a batch, r another request."""
    order: list[tuple[str, int]] = []

    async def test() -> None:
        with scheduling(concurrency=1, queue_limit=64) as scheduler:
            works = [partial(noted, order, number) for number in range(len(kinds))]
            admissions = [Admission.UNCOUNTED if kind == "b" else Admission.COUNTED for kind in kinds]
            await asyncio.gather(*await queued_behind_a_run(scheduler, clock, FAST_S, works, admissions))

    run(test)
    started = "".join(kinds[number] if stage == "decode" else "|" for stage, number in order)
    assert [group for group in started.split("|") if group] == groups


def test_a_request_that_fails_leaves_the_others_their_answers(clock: Clock) -> None:
    def fails(_: RunContext) -> Stages[None]:
        yield
        raise ValueError

    async def test() -> None:
        with scheduling(concurrency=1, queue_limit=64) as scheduler:
            tasks = await queued_behind_a_run(scheduler, clock, FAST_S, [quick, fails, quick, quick, quick])
            outcomes = await asyncio.gather(*tasks, return_exceptions=True)
            assert isinstance(outcomes.pop(1), ValueError)
            assert outcomes == ["quick"] * 4

    run(test)


def test_the_wait_between_stages_counts_as_queue(clock: Clock) -> None:
    timers: list[StageTimer] = []

    def ten_seconds(context: RunContext) -> Stages[None]:
        timers.append(context.timer)
        with context.timer.stage(DECODE):
            clock.now += 10
        yield

    async def test() -> None:
        with scheduling(concurrency=1, queue_limit=64) as scheduler:
            await asyncio.gather(*await queued_behind_a_run(scheduler, clock, FAST_S, [ten_seconds] * 3))

    run(test)
    assert [round(timer.stages[QUEUE]) for timer in timers] == [10, 10, 20]


def test_a_request_beside_one_that_hangs_is_answered_when_that_ends(
    clock: Clock, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(scheduler_module, "HUNG_AFTER_S", 0.0)
    started, end = Event(), Event()

    def hangs(_: RunContext) -> Stages[None]:
        started.set()
        assert end.wait(WAIT_S)
        yield

    async def test() -> None:
        with scheduling(concurrency=1, queue_limit=64) as scheduler:
            hung, beside, later = await queued_behind_a_run(scheduler, clock, FAST_S, [hangs, quick, quick])
            assert await asyncio.to_thread(started.wait, WAIT_S)
            await cancelled(hung)
            await asyncio.to_thread(eventually, lambda: "hangs" in caplog.text)
            assert await later == "quick"  # on the thread that replaces it
            assert not beside.done()
            end.set()
            assert await beside == "quick"
            assert scheduler.queues() == {"": (0, 0)}

    run(test)
