"""Processes take turns at something that one of them does for all."""

import fcntl
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_log = logging.getLogger("fovea")


@contextmanager
def one_process_at_a_time(file: Path) -> Iterator[None]:
    """Waits for its turn; the kernel frees that of a process that dies. Without a place for the file nobody waits."""
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        lock = file.open("a")
    except OSError as error:
        _log.debug("no lock: %s", error.strerror)
        yield
        return
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
        except OSError as error:  # this file system has no locks
            _log.debug("no lock: %s", error.strerror)
        yield
