import ctypes.util

import numpy as np
import pytest

from utils import memory
from utils.memory import release_free_memory


def test_it_asks_the_c_library(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []
    monkeypatch.setattr(memory, "_malloc_trim", lambda: asked.append)
    release_free_memory()
    assert asked == [0]


def test_without_such_a_library_nothing_happens(monkeypatch: pytest.MonkeyPatch) -> None:
    memory._malloc_trim.cache_clear()
    monkeypatch.setattr(ctypes.util, "find_library", lambda _: None)
    release_free_memory()
    memory._malloc_trim.cache_clear()


def test_what_is_in_use_stays() -> None:
    kept = [np.full(10_000, value) for value in range(100)]
    release_free_memory()
    assert [int(array[0]) for array in kept] == list(range(100))
