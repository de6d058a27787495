"""Time spent in the stages of one request."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from time import perf_counter

DECODE = "decode"
PREPROCESS = "preprocess"
QUEUE = "queue"
INFERENCE = "inference"
POSTPROCESS = "postprocess"
TOTAL = "total"

STAGES = (DECODE, PREPROCESS, QUEUE, INFERENCE, POSTPROCESS)
_MS_DIGITS = 3

# A stage with its start and end, in seconds of `perf_counter`.
Interval = tuple[str, float, float]


class StageTimer:
    """Seconds that each stage of one request took; `total` runs from the timer's creation.

    A request is in one stage at a time, so threads that hand it on need no lock.
    """

    def __init__(self) -> None:
        self._started = perf_counter()
        self._seconds = dict.fromkeys(STAGES, 0.0)
        self._intervals: list[Interval] = []
        self._total_s: float | None = None

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Add the time spent inside the `with` block to `name`, also if the block raises."""
        started = perf_counter()
        try:
            yield
        finally:
            self.add(name, started, perf_counter())

    def add(self, name: str, started: float, ended: float) -> None:
        """Add time that no `with` block encloses, such as waiting in a queue, in seconds of `perf_counter`.

        Raises KeyError for an unknown stage.
        """
        self._seconds[name] += ended - started
        self._intervals.append((name, started, ended))

    @property
    def stages(self) -> Mapping[str, float]:
        """Seconds by stage, in the order of `STAGES`."""
        return self._seconds

    @property
    def intervals(self) -> Sequence[Interval]:
        """Every time in a stage, in order of their ends."""
        return self._intervals

    @property
    def elapsed_s(self) -> float:
        """Seconds since the timer's creation."""
        return perf_counter() - self._started

    def resumed_at(self, elapsed_s: float) -> "StageTimer":
        """Return a copy that has run for `elapsed_s`: the stages so far are shared by several models."""
        other = StageTimer()
        other._started -= elapsed_s
        other._seconds.update(self._seconds)
        other._intervals += self._intervals
        return other

    def stop(self) -> float:
        """Fix `total` and return it, in seconds; later calls change nothing."""
        if self._total_s is None:
            self._total_s = self.elapsed_s
        return self._total_s

    def as_ms(self) -> dict[str, float]:
        """Stop, and return milliseconds by stage in the order of `STAGES`, then `total`."""
        return {name: round(s * 1e3, _MS_DIGITS) for name, s in (*self._seconds.items(), (TOTAL, self.stop()))}


def server_timing(timings_ms: dict[str, float]) -> str:
    """The value of the `Server-Timing` header (W3C Server Timing): `decode;dur=1.2, ...`, in milliseconds."""
    return ", ".join([f"{name};dur={ms:.12g}" for name, ms in timings_ms.items()])
