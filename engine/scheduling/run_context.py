"""What a request may use while it is on a lane, and whether somebody still waits for it."""

from collections.abc import Callable

from engine.scheduling.scoreboard import Place, no_neighbours
from loaders.runtimes.base import RunStop
from utils.time_utils import StageTimer


class RunContext:
    """One request's time on a lane. `stop` ends its run in the runtime when nobody waits for the answer any more.

    `place`: where this process notes what it runs.
    """

    __slots__ = ("_cores", "place", "stop", "timer")

    def __init__(self, timer: StageTimer, cores: Callable[[], int], place: Place) -> None:
        self.timer = timer
        self.place = place
        self._cores = cores
        self.stop = RunStop()

    def cores(self) -> int:
        """How many cores a run that begins now may use, at least 1: its share among those that are busy."""
        return self._cores()

    def go_on(self) -> None:
        """Between two stages. Raises RunStoppedError when nobody waits for the answer any more."""
        self.stop.check()


_NO_NEIGHBOURS = no_neighbours()


def alone(timer: StageTimer, cores: int = 1) -> RunContext:
    """Of a caller that has those cores to itself."""
    return RunContext(timer, lambda: cores, _NO_NEIGHBOURS)
