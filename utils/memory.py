"""Memory that has been freed: what the C library's allocator (glibc's; elsewhere nothing) and Python's collector do."""

import ctypes
import ctypes.util
import gc
from functools import cache

_MIB = 1024 * 1024
# Of mallopt(3).
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
# The most that glibc allows: what is larger is always asked of the system, and given back at once.
_KEPT_BYTES = 32 * _MIB
_FREE_AT_THE_END_BYTES = 64 * _MIB
# Between two looks of the garbage collector; Python's own is 700.
_NEW_OBJECTS = 5000


def keep_freed_memory() -> None:
    """For the whole process, for good: what a picture needed serves the next one.

    By itself glibc gives arrays of some 100 KB back to the system until it has learned better, which it may never do:
    470 page faults a picture, a third of the time of decode and preprocess.
    """
    library = _library()
    if library and hasattr(library, "mallopt"):
        library.mallopt(_M_MMAP_THRESHOLD, _KEPT_BYTES)
        library.mallopt(_M_TRIM_THRESHOLD, _FREE_AT_THE_END_BYTES)


def release_free_memory() -> None:
    """After something large is gone: asks for all that is kept."""
    library = _library()
    if library and hasattr(library, "malloc_trim"):
        library.malloc_trim(0)


def settle_in() -> None:
    """For a process that has started: the garbage collector no longer looks at what is there now, and looks less often.

    Hundreds of thousands of objects are there for good. To go through them cost half of what a refused request takes,
    with a thousand of them under way.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(_NEW_OBJECTS)


@cache
def _library() -> ctypes.CDLL | None:
    name = ctypes.util.find_library("c")
    return ctypes.CDLL(name) if name else None
