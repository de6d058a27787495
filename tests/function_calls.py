"""Counts function calls: the cost of a computation, whatever else the machine does."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType


@dataclass
class Calls:
    """How many functions of Python and of C this thread has called."""

    count: int = 0


@contextmanager
def function_calls() -> Iterator[Calls]:
    """Counts the calls of this thread within the block."""
    calls = Calls()

    def observe(_frame: FrameType, event: str, _argument: object) -> None:
        if event in ("call", "c_call"):
            calls.count += 1

    sys.setprofile(observe)
    try:
        yield calls
    finally:
        sys.setprofile(None)
