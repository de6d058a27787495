"""How fast places of a queue get free, and when to come again who found none. Times in seconds, of one clock."""

import math

# How much the newest counts in a moving average.
_NEWEST_WEIGHT = 0.1
# A refusal that is so old counts a third.
_CROWD_S = 1.0


class ServiceRate:
    """`_gap_s`: mean time between two that end while others wait, so what one place takes to get free, whatever lanes,
    batches and other models there are; 0 until that was seen. `_run_s`: mean time on a lane. `_moved`: when the last
    one ended, or began alone. `_crowd`: those refused lately, who will come again: of a steady rate about what comes
    in a second, of a burst all of it.
    """

    __slots__ = ("_crowd", "_crowd_at", "_gap_s", "_moved", "_run_s")

    def __init__(self) -> None:
        self._gap_s = self._run_s = self._moved = self._crowd = self._crowd_at = 0.0

    def began_alone(self, now: float) -> None:
        self._moved = now

    def ended(self, now: float, run_s: float, *, others_wait: bool) -> None:
        self._run_s = _mean(self._run_s, run_s)
        if others_wait:
            self._gap_s = _mean(self._gap_s, now - self._moved)
        self._moved = now

    def refused(self, now: float, waiting: int, running: int) -> int:
        """One more. Whole seconds, at least 1, after which those that wait and those refused before it have begun.

        A model that never ended a run takes what its first has had.
        """
        crowd = self._crowd * math.exp(min(0.0, (self._crowd_at - now) / _CROWD_S))
        self._crowd, self._crowd_at = crowd + 1, now
        gap_s = self._gap_s or (self._run_s or now - self._moved) / max(1, running)
        return max(1, math.ceil((max(1, waiting) + crowd) * gap_s))


def _mean(mean: float, newest: float) -> float:
    """A moving average; the first value is its own."""
    return mean + (_NEWEST_WEIGHT if mean else 1) * (newest - mean)
