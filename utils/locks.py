"""Locks between processes."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock

_log = logging.getLogger("fovea")


@contextmanager
def process_lock(file: Path) -> Iterator[None]:
    """Holds an exclusive lock on `file`; the system releases the lock of a process that dies.

    Best effort: where the file cannot be created, the block runs without a lock.
    """
    lock = FileLock(file)
    try:
        lock.acquire()
    except OSError as error:
        _log.debug("lock not available reason=%r", error.strerror)
        yield
        return
    try:
        yield
    finally:
        lock.release()
