"""Admission and lanes: who may wait, who runs, and when waiting ends.

| state | what happens to a request |
|---|---|
| a lane is free | it runs at once |
| all lanes busy, fewer than `queue_limit` waiting | it waits, first come first served |
| `queue_limit` waiting | QueueFullError, with the time after which a place should be free |
| its caller is cancelled (a deadline passed) while it waits | it leaves the queue |
| its caller is cancelled while it runs | the caller goes on at once; the lane is free when the run ends |

A lane is a thread that takes a picture the whole way on one core: decode, preprocess, run, postprocess. There are as
many lanes as cores; OpenCV, Pillow, NumPy and ONNX Runtime release the GIL.
"""

import asyncio
import math
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from threading import Lock
from time import perf_counter
from typing import TypeVar

from utils.time_utils import QUEUE, StageTimer

T = TypeVar("T")

# How much the newest run counts in the moving average of run times.
_NEWEST_WEIGHT = 0.1


class QueueFullError(Exception):
    """`retry_after_s`: whole seconds, at least 1, after which a place should be free."""

    def __init__(self, waiting: int, retry_after_s: int) -> None:
        self.waiting, self.retry_after_s = waiting, retry_after_s
        super().__init__(f"{waiting} requests are waiting already; try again in {retry_after_s} s.")


class Scheduler:
    """Runs work on a fixed number of lanes."""

    def __init__(self, lanes: int, queue_limit: int) -> None:
        self.lanes = lanes
        self._queue_limit = queue_limit
        self._executor = ThreadPoolExecutor(lanes, thread_name_prefix="lane")
        self._lock = Lock()
        self._admitted = 0
        self._mean_run_s = 0.0

    async def run(self, work: Callable[[], T], timer: StageTimer) -> T:
        """Runs `work` on a lane and records its wait in `timer`. Raises QueueFullError, and what `work` raises."""
        self._admit()
        asked = perf_counter()

        def on_lane() -> T:
            started = perf_counter()
            timer.add(QUEUE, started - asked)
            try:
                return work()
            finally:
                self._note_run(perf_counter() - started)

        future = self._executor.submit(on_lane)
        future.add_done_callback(self._leave)
        return await asyncio.wrap_future(future)

    def close(self) -> None:
        """Ends the lanes; what still waits is dropped, what runs ends."""
        self._executor.shutdown(wait=True, cancel_futures=True)

    def _admit(self) -> None:
        with self._lock:
            waiting = self._admitted - self.lanes
            if waiting >= self._queue_limit:
                free_in_s = waiting * self._mean_run_s / self.lanes
                raise QueueFullError(waiting, max(1, math.ceil(free_in_s)))
            self._admitted += 1

    def _leave(self, _: Future[T]) -> None:
        with self._lock:
            self._admitted -= 1

    def _note_run(self, seconds: float) -> None:
        with self._lock:
            self._mean_run_s += _NEWEST_WEIGHT * (seconds - self._mean_run_s)
