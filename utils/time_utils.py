"""Time spent in the stages of one picture's trip."""

from collections.abc import Mapping
from time import perf_counter

DECODE = "decode"
PREPROCESS = "preprocess"
QUEUE = "queue"
INFERENCE = "inference"
POSTPROCESS = "postprocess"
TOTAL = "total"

STAGES = (DECODE, PREPROCESS, QUEUE, INFERENCE, POSTPROCESS)
_MS_DIGITS = 3


class StageTimer:
    """Collects how long each stage of one request took, in milliseconds; `total` runs from its creation.

    One request is in one stage at a time, so threads that hand the request on need no lock.
    """

    def __init__(self) -> None:
        self._started = perf_counter()
        self._seconds = dict.fromkeys(STAGES, 0.0)
        self._total_s: float | None = None

    def stage(self, name: str) -> "_Stage":
        """Adds the time spent inside the `with` block to `name`, also when the block raises."""
        return _Stage(self._seconds, name)

    def add(self, name: str, seconds: float) -> None:
        """Adds time that no `with` block can hold, such as waiting in a queue."""
        self._seconds[name] += seconds

    @property
    def stages(self) -> Mapping[str, float]:
        """Seconds by stage, in the order of `STAGES`."""
        return self._seconds

    @property
    def elapsed_s(self) -> float:
        """Since the creation."""
        return perf_counter() - self._started

    def resumed_at(self, elapsed_s: float) -> "StageTimer":
        """Another timer with the same stages so far, as if `elapsed_s` had passed: for one of several ways onward."""
        other = StageTimer()
        other._started -= elapsed_s
        other._seconds.update(self._seconds)
        return other

    def stop(self) -> None:
        """Fixes `total`; from then on every reader sees the same figures."""
        if self._total_s is None:
            self._total_s = self.elapsed_s

    def as_ms(self) -> dict[str, float]:
        """Milliseconds by stage in the order of `STAGES`, then `total`."""
        total_s = self.elapsed_s if self._total_s is None else self._total_s
        return {name: round(s * 1e3, _MS_DIGITS) for name, s in (*self._seconds.items(), (TOTAL, total_s))}


class _Stage:
    """A context manager of its own: a generator's costs four times as much, five times a picture."""

    __slots__ = ("_name", "_seconds", "_started")

    def __init__(self, seconds: dict[str, float], name: str) -> None:
        self._seconds, self._name = seconds, name

    def __enter__(self) -> None:
        self._started = perf_counter()

    def __exit__(self, *_: object) -> None:
        self._seconds[self._name] += perf_counter() - self._started


def server_timing(timings_ms: dict[str, float]) -> str:
    """The `Server-Timing` header's value (W3C Server Timing): `decode;dur=1.2, ...`, in milliseconds."""
    return ", ".join(f"{name};dur={ms:.12g}" for name, ms in timings_ms.items())
