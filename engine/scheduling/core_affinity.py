"""One core for each worker thread while all cores are busy.

The worker threads and the event loop take turns at the GIL. After each turn the kernel may wake a thread on the core
where another one runs, and leave its own core idle for some milliseconds. A thread that may run on one core alone
wakes there.
"""

import os
from contextlib import suppress
from threading import Lock


class CoreAffinity:
    """Hands out the cores of this process to as many threads.

    It has no cores to hand out if `threads` is not their number, or where the platform has no thread affinity.
    """

    def __init__(self, threads: int) -> None:
        self._all = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else set[int]()
        self._free = sorted(self._all) if len(self._all) == threads else []
        self._lock = Lock()

    def pin(self) -> int | None:
        """Keep the calling thread on a core that no other thread was given; returns it, or None if there is none."""
        with self._lock:
            core = self._free.pop() if self._free else None
        if core is not None:
            _allow({core})
        return core

    def unpin(self, core: int) -> None:
        """Let the calling thread run on all cores again, and another one have its core."""
        _allow(self._all)
        with self._lock:
            self._free.append(core)


def _allow(cores: set[int]) -> None:
    with suppress(OSError):  # a sandbox forbids it, or the cores of the container have been changed
        os.sched_setaffinity(0, cores)
