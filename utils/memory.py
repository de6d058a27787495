"""Settings of the C library's memory allocator (glibc only)."""

import ctypes
import ctypes.util
from functools import cache

_MIB = 1024 * 1024
# Parameters of mallopt(3).
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
# The maximum of glibc: larger blocks are mapped, and returned to the system when freed.
_MMAP_THRESHOLD_BYTES = 32 * _MIB
_TRIM_THRESHOLD_BYTES = 64 * _MIB


def keep_freed_memory() -> None:
    """Reuses the memory of one picture for the next, in the whole process.

    By default glibc returns arrays of some 100 KB to the system: 470 page faults a picture, a third of the time of
    decode and preprocess.
    """
    library = _library()
    if library and hasattr(library, "mallopt"):
        library.mallopt(_M_MMAP_THRESHOLD, _MMAP_THRESHOLD_BYTES)
        library.mallopt(_M_TRIM_THRESHOLD, _TRIM_THRESHOLD_BYTES)


def release_free_memory() -> None:
    """Returns free memory to the system, after something large was freed."""
    library = _library()
    if library and hasattr(library, "malloc_trim"):
        library.malloc_trim(0)


@cache
def _library() -> ctypes.CDLL | None:
    name = ctypes.util.find_library("c")
    return ctypes.CDLL(name) if name else None
