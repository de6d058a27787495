"""How fast a model's queue moves, and when a rejected client should retry. Times in seconds, of one clock."""

import math

# The weight of the newest value in a moving average.
_NEWEST_WEIGHT = 0.1
# A rejection this long ago counts a third: its client may have given up.
_REJECTED_DECAY_S = 1.0


class ServiceRate:
    """`run_s`: mean time on a worker thread, 0 until one was measured. `_gap_s`: mean time between completions while
    requests wait, which is what a place in the queue takes to become free, whatever the concurrency, batches and other
    models; 0 until one was measured. `_moved_at`: the last completion, or the start of a request that was the only one.
    `_rejected`: clients rejected lately, who will retry.
    """

    def __init__(self) -> None:
        self.run_s = self._gap_s = self._moved_at = self._rejected = self._rejected_at = 0.0

    def started_alone(self, now: float) -> None:
        self._moved_at = now

    def ended(self, now: float, run_s: float, *, others_wait: bool) -> None:
        self.run_s = _mean(self.run_s, run_s)
        if others_wait:
            self._gap_s = _mean(self._gap_s, now - self._moved_at)
        self._moved_at = now

    def rejected(self, now: float, waiting: int, in_flight: int) -> int:
        """Count a rejection. Seconds, at least 1, until the waiting and the earlier rejected requests have started.

        A model that has completed no run yet is taken to need the time that its first run has had.
        """
        rejected = self._rejected * math.exp(min(0.0, (self._rejected_at - now) / _REJECTED_DECAY_S))
        self._rejected, self._rejected_at = rejected + 1, now
        gap_s = self._gap_s or (self.run_s or now - self._moved_at) / max(1, in_flight)
        return max(1, math.ceil((max(1, waiting) + rejected) * gap_s))


def _mean(mean: float, newest: float) -> float:
    """A moving average that starts at its first value."""
    return mean + (_NEWEST_WEIGHT if mean else 1) * (newest - mean)
