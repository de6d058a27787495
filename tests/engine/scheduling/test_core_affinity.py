"""Worker threads stay on one core each while all cores are busy; otherwise all threads may run on all cores."""

import asyncio
import os
import sys
from threading import Barrier

import pytest

from engine.scheduling.run_context import RunContext, one_stage
from engine.scheduling.scheduler import Scheduler
from tests.engine.scheduling.worker_threads import WAIT_S, run, scheduling
from utils.time_utils import StageTimer

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="thread affinity is Linux'")


async def allowed_cores(scheduler: Scheduler, rounds: int, width: int) -> list[frozenset[int]]:
    """The cores that each of `rounds` * `width` runs was allowed, `width` of them at a time."""
    together = Barrier(width)

    def note(_: RunContext) -> frozenset[int]:
        together.wait(WAIT_S)
        cores = frozenset(os.sched_getaffinity(0))
        together.wait(WAIT_S)
        return cores

    return await asyncio.gather(*(scheduler.run(one_stage(note), StageTimer()) for _ in range(rounds * width)))


def test_runs_on_all_cores_have_one_each_and_a_lone_one_has_all() -> None:
    every = frozenset(os.sched_getaffinity(0))

    async def test() -> None:
        with scheduling(len(every), 100) as scheduler:
            while_busy = await allowed_cores(scheduler, 3, len(every))
            assert sorted(map(sorted, while_busy[-len(every) :])) == [[core] for core in sorted(every)]
            assert await allowed_cores(scheduler, 1, 1) == [every]
        assert os.sched_getaffinity(0) == every, "the event loop, after its threads have ended"

    run(test)


def test_threads_of_another_number_than_cores_are_left_alone() -> None:
    """As under a quota of processor time: which cores are free is not known."""
    every = frozenset(os.sched_getaffinity(0))

    async def test() -> None:
        with scheduling(len(every) + 1, 100) as scheduler:
            assert set(await allowed_cores(scheduler, 3, len(every) + 1)) == {every}

    run(test)
