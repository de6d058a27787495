"""The end of a measurement: three windows in a row that agree, as in Triton's perf_analyzer."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

AGREEING = 3


@dataclass(frozen=True, slots=True)
class Window:
    """The answers within `seconds`: the latency of each right one, in seconds, and the number of errors."""

    seconds: float
    latencies: Sequence[float]
    errors: int = 0

    @property
    def throughput(self) -> float:
        """Right answers a second."""
        return len(self.latencies) / self.seconds

    @property
    def median(self) -> float:
        """Median latency in seconds; infinite without answers."""
        return statistics.median(self.latencies) if self.latencies else float("inf")


def stable(windows: Sequence[Window], tolerance: float) -> bool:
    """Whether the last three agree within +-`tolerance` (0.1 is 10 %) in throughput and in latency."""
    last = windows[-AGREEING:]
    if len(last) < AGREEING or not all(window.latencies for window in last):
        return False
    return all(_agree(values, tolerance) for values in ([w.throughput for w in last], [w.median for w in last]))


def merged(windows: Sequence[Window]) -> Window:
    """The last three windows as one."""
    last = windows[-AGREEING:]
    return Window(
        sum(window.seconds for window in last),
        [latency for window in last for latency in window.latencies],
        sum(window.errors for window in last),
    )


def percentile(values: Sequence[float], percent: float) -> float:
    """The value that `percent` of `values` do not exceed (nearest rank); infinite for none."""
    if not values:
        return float("inf")
    ordered = sorted(values)
    rank = -(-len(ordered) * percent // 100)
    return ordered[max(0, int(rank) - 1)]


def _agree(values: Sequence[float], tolerance: float) -> bool:
    mean = statistics.fmean(values)
    return all(abs(value - mean) <= tolerance * mean for value in values)
