import ctypes.util
import platform
import resource
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from utils import memory
from utils.memory import keep_freed_memory, release_free_memory, use_huge_pages

FAULTS = """
import resource, sys, threading
import numpy as np
from utils.memory import keep_freed_memory
if sys.argv[1] == "kept":
    keep_freed_memory()
def work():
    # Like a picture: some arrays of 100 KB and more, in a thread.
    arrays = [np.ones(size, np.uint8) for size in (400_000, 1_600_000, 1_500_000, 1_600_000)]
    arrays += [np.ones(size, np.uint8) for size in (150_000, 600_000)]
def run():
    for _ in range(5):
        work()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(100):
        work()
    print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
thread = threading.Thread(target=run)
thread.start()
thread.join()
"""


def test_release_free_memory_calls_malloc_trim(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[int] = []
    monkeypatch.setattr(memory, "_library", lambda: SimpleNamespace(malloc_trim=calls.append))
    release_free_memory()
    assert calls == [0]


def test_missing_c_library_is_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    memory._library.cache_clear()
    monkeypatch.setattr(ctypes.util, "find_library", lambda _: None)
    release_free_memory()
    keep_freed_memory()
    use_huge_pages()
    memory._library.cache_clear()


def test_release_keeps_memory_in_use() -> None:
    kept = [np.full(10_000, value) for value in range(100)]
    release_free_memory()
    assert [int(array[0]) for array in kept] == list(range(100))


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="of glibc")
def test_freed_arrays_are_reused_without_page_faults() -> None:
    run = subprocess.run([sys.executable, "-c", FAULTS, "kept"], check=True, capture_output=True, text=True)
    assert int(run.stdout) < 100, f"page faults; a page has {resource.getpagesize()} bytes"


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="of Linux")
def test_huge_pages_keep_memory_in_use() -> None:
    kept = [np.full(10_000, value) for value in range(100)]
    use_huge_pages()
    assert [int(array[0]) for array in kept] == list(range(100))
