"""Follows the models folder: calls back on changes, and every second in any case.

The regular call covers what the kernel does not report (network volumes, a replaced folder, idle models);
`watchfiles` makes changes prompt.
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
    """One thread, on which `on_change` runs, one call at a time. Its exceptions are logged and do not end the watch."""

    def __init__(self, folder: Path, on_change: Callable[[], None]) -> None:
        self._folder = folder
        self._on_change = on_change
        self._last_error = ""
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
                self._watch()
            except (OSError, RuntimeError):  # the folder is missing, or the kernel's limit of watches is reached
                self._call()
                self._stop.wait(TICK_S)

    def _watch(self) -> None:
        watched = self._folder.stat().st_ino
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
            if self._folder.stat().st_ino != watched:
                return  # another folder has the same path now

    def _call(self) -> None:
        try:
            self._on_change()
        except Exception as error:  # noqa: BLE001 - the watch continues after any error
            if repr(error) != self._last_error:  # a lasting error is logged once
                _log.exception("models folder not followed")
            self._last_error = repr(error)
        else:
            self._last_error = ""
