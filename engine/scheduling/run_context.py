"""The context of one run on a worker thread: its stop signal, timer and cores."""

from collections.abc import Callable

from loaders.runtimes.base import RunStop
from utils.time_utils import StageTimer


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
