"""Runs pictures side by side, and hands over the results in the order of the pictures."""

import signal
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from os import _exit
from threading import Event
from types import FrameType
from typing import TypeVar

In = TypeVar("In")
Out = TypeVar("Out")

INTERRUPTED = 130

# Results that wait for a slower picture before them, for each thread.
_AHEAD = 8


def in_order(
    inputs: Iterable[In], work: Callable[[In], Out], threads: int, stop: Event, take: Callable[[Out], None]
) -> None:
    """Calls `work` on `threads` threads and `take` on this one. After `stop`, what runs is finished, and no more.

    Reads only as many inputs ahead as keep the threads busy, so that memory does not grow with their number.
    """
    with ThreadPoolExecutor(threads, "picture") as pool:
        pending: deque[Future[Out]] = deque()
        for given in inputs:
            if stop.is_set():
                break
            pending.append(pool.submit(work, given))
            while pending and (len(pending) >= threads * _AHEAD or pending[0].done()):
                take(pending.popleft().result())
        for future in pending:
            if not (stop.is_set() and future.cancel()):
                take(future.result())


@contextmanager
def stopped_by_signals(stop: Event) -> Iterator[None]:
    """SIGINT and SIGTERM set `stop`. A second one ends the process at once; what is finished is on the disk."""

    def handle(_: int, __: FrameType | None) -> None:
        if stop.is_set():
            _exit(INTERRUPTED)
        stop.set()

    before = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
