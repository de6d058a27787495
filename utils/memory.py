"""Memory that has been freed, handed back to the operating system."""

import ctypes
import ctypes.util
from functools import cache


def release_free_memory() -> None:
    """After something large is gone: asks glibc for what it keeps. Elsewhere it does nothing."""
    trim = _malloc_trim()
    if trim:
        trim(0)


@cache
def _malloc_trim() -> "ctypes._NamedFuncPointer | None":
    name = ctypes.util.find_library("c")
    return getattr(ctypes.CDLL(name), "malloc_trim", None) if name else None
