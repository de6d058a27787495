"""Draining on SIGTERM, under uvicorn: readiness is 503, requests are served, then the server stops."""

import asyncio
import logging
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import current_thread, main_thread
from types import FrameType

_log = logging.getLogger("fovea")


@contextmanager
def drain_on_sigterm(seconds: float, begin: Callable[[], None]) -> Iterator[None]:
    """Inside the block SIGTERM calls `begin`, and after `seconds` the handler that the server has installed.

    Without effect in a thread other than the main one, where Python handles no signals.
    """
    installed = signal.getsignal(signal.SIGTERM) if current_thread() is main_thread() else None
    if not callable(installed):
        yield
        return
    loop = asyncio.get_running_loop()

    def handle(number: int, frame: FrameType | None) -> None:
        loop.call_soon_threadsafe(drain, number, frame)

    def drain(number: int, frame: FrameType | None) -> None:
        begin()
        _log.info("shutting down: draining for %g s", seconds)
        loop.call_later(seconds, installed, number, frame)

    signal.signal(signal.SIGTERM, handle)
    try:
        yield
    finally:
        if signal.getsignal(signal.SIGTERM) is handle:
            signal.signal(signal.SIGTERM, installed)
