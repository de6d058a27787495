"""The context of one run on a worker thread: its stop signal, timer and cores."""

from collections.abc import Callable, Generator
from typing import TypeVar

from loaders.runtimes.base import RunStop
from utils.time_utils import StageTimer

T = TypeVar("T")
# Work that yields between its stages and returns its result.
Stages = Generator[None, None, T]


class RunContext:
    """`timer` records the stages of the request. `stop` ends its run once the caller is gone."""

    __slots__ = ("_cores", "stop", "timer")

    def __init__(self, timer: StageTimer, cores: Callable[[], int]) -> None:
        self.timer = timer
        self.stop = RunStop()
        self._cores = cores

    def cores(self) -> int:
        """The number of cores that a run which starts now may use, at least 1."""
        return self._cores()


def alone(timer: StageTimer, cores: int = 1) -> RunContext:
    """Return the context of a run outside a scheduler, with `cores` cores to itself."""
    return RunContext(timer, lambda: cores)


def completed(stages: Stages[T]) -> T:
    """Run all stages; return the result."""
    while True:
        try:
            next(stages)
        except StopIteration as end:
            result: T = end.value
            return result


def one_stage(work: Callable[[RunContext], T]) -> Callable[[RunContext], Stages[T]]:
    """Return `work` as stages that a scheduler runs."""

    def stages(context: RunContext) -> Stages[T]:
        yield
        return work(context)

    return stages
