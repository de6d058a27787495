"""Which cores worker threads and the event loop run on.

The worker threads and the event loop take turns at the GIL. After each turn the kernel may wake a thread on the core
where another one runs, and leave its own core idle for some milliseconds. A thread that may run on one core alone
wakes there.
"""

import ctypes
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from threading import Lock, get_native_id


class CoreAffinity:
    """Hands out the cores of this process to as many threads. Made by the thread of the event loop.

    It has no cores to hand out if `threads` is not their number, or where the platform has no thread affinity.
    """

    def __init__(self, threads: int) -> None:
        self._all = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else set[int]()
        self._free = sorted(self._all) if len(self._all) == threads else []
        self._lock = Lock()
        self._event_loop = get_native_id()
        # Which core the calling thread runs on; glibc and musl have it.
        self._current_core = getattr(ctypes.PyDLL(None), "sched_getcpu", None) if self._free else None

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

    @contextmanager
    def event_loop_here(self) -> Iterator[None]:
        """Let the event loop wake on the core of the calling thread, if the `with` block wakes it.

        For a thread that has nothing to do afterwards: on any other core, the event loop would interrupt a run.
        """
        if self._current_core is None:
            yield
            return
        _allow({self._current_core()}, self._event_loop)
        try:
            yield
        finally:
            _allow(self._all, self._event_loop)


def _allow(cores: set[int], thread: int = 0) -> None:
    with suppress(OSError):  # a sandbox forbids it, or the cores of the container have been changed
        os.sched_setaffinity(thread, cores)
