"""Work for lanes that a test holds up and lets go."""

import asyncio
from collections.abc import Callable, Coroutine
from threading import Event
from typing import Any

from engine.scheduling.run_context import RunContext
from engine.scheduling.scheduler import Scheduler
from utils.time_utils import StageTimer

WAIT_S = 30.0


class Lane:
    """Work that has `started` and runs until `end`."""

    def __init__(self) -> None:
        self.started, self.end = Event(), Event()

    def __call__(self, _: RunContext | None = None) -> str:
        self.started.set()
        assert self.end.wait(WAIT_S)
        return "done"


def run(test: Callable[[], Coroutine[Any, Any, None]]) -> None:
    asyncio.run(asyncio.wait_for(test(), WAIT_S))


async def busy(scheduler: Scheduler, model: str = "", lanes: int = 0) -> tuple[Lane, asyncio.Task[str]]:
    """One lane taken."""
    lane = Lane()
    task = asyncio.create_task(scheduler.run(lane, StageTimer(), model, lanes=lanes))
    assert await asyncio.to_thread(lane.started.wait, WAIT_S)
    return lane, task


async def waiting(
    scheduler: Scheduler,
    work: Callable[[RunContext], Any] = lambda _: "ran",
    model: str = "",
) -> asyncio.Task[Any]:
    task = asyncio.create_task(scheduler.run(work, StageTimer(), model))
    await asyncio.sleep(0)
    return task
