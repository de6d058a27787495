"""What a request may use while it is on a lane, and whether somebody still waits for it."""

from collections.abc import Callable

from engine.neighbours import Place, no_neighbours
from loaders.model_loader import RunStop
from utils.time_utils import StageTimer


class Turn:
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


def alone(timer: StageTimer, cores: int = 1) -> Turn:
    """Of a caller that has those cores to itself."""
    return Turn(timer, lambda: cores, _NO_NEIGHBOURS)
