"""Calls `notice` when something in the models folder changes, and every second in any case.

The second covers what the kernel does not tell (network volumes, a folder that vanished and came back, idle models) at
the price of one look at a few folders. `watchfiles` makes it prompt.
"""

import logging
from collections.abc import Callable
from pathlib import Path
from threading import Event, Thread

from watchfiles import watch

TICK_S = 1.0
_QUIET_MS = 50

_log = logging.getLogger("fovea.models")


class ModelWatch:
    """One thread. `notice` runs on it, one call at a time; what it raises is logged and does not end the watch."""

    def __init__(self, folder: Path, notice: Callable[[], None]) -> None:
        self._folder = folder
        self._notice = notice
        self._stop = Event()
        self._thread = Thread(target=self._run, name="model-watch", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                self._follow()
            except (OSError, RuntimeError):  # the folder is not there, or the kernel has no watch left to give
                self._call()
                self._stop.wait(TICK_S)

    def _follow(self) -> None:
        followed = self._folder.stat().st_ino
        changes = watch(
            self._folder,
            watch_filter=None,
            debounce=_QUIET_MS * 2,
            step=_QUIET_MS,
            rust_timeout=int(TICK_S * 1000),
            yield_on_timeout=True,
            stop_event=self._stop,
            raise_interrupt=False,
        )
        for _ in changes:
            self._call()
            if self._folder.stat().st_ino != followed:
                return  # another folder has taken its place

    def _call(self) -> None:
        try:
            self._notice()
        except Exception:  # noqa: BLE001 - whatever it was, the watch must go on
            _log.exception("the models folder could not be followed")
