"""Memory, threads and descriptors of a service over time, and the rule that decides whether they grow."""

import statistics
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

import psutil

_MIB = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Sample:
    """`at`: seconds from the start. `pss_mib` counts shared pages once; it equals `rss_mib` if it cannot be read."""

    at: float
    processes: int
    rss_mib: float
    pss_mib: float
    threads: int
    descriptors: int
    requests: int
    p50_ms: float
    p99_ms: float


@dataclass(frozen=True, slots=True)
class Bound:
    """A quantity may rise by `share` of its median in the second half, or by `least` if that is more."""

    name: str
    share: float
    least: float


BOUNDS = (
    Bound("pss_mib", 0.03, 16),
    Bound("rss_mib", 0.05, 32),
    Bound("threads", 0.0, 4),
    Bound("descriptors", 0.0, 24),
)


def measure(pids: Sequence[int]) -> tuple[float, float, int, int]:
    """Returns RSS and PSS (MiB), threads and descriptors of all processes together."""
    rss = pss = 0.0
    threads = descriptors = 0
    for pid in pids:
        with suppress(psutil.NoSuchProcess):
            process = psutil.Process(pid)
            memory = _memory(process)
            rss, pss = rss + memory[0] / _MIB, pss + memory[1] / _MIB
            threads, descriptors = threads + process.num_threads(), descriptors + process.num_fds()
    return rss, pss, threads, descriptors


def growth(samples: Sequence[Sample], bound: Bound) -> tuple[float, float]:
    """Returns the rise over the second half, and the rise that is allowed.

    The rise is Theil and Sen's, the median of the slopes between all pairs, as a swap holds two models for a moment.
    In the first half caches, arenas and threads fill.
    """
    half = [sample for sample in samples if sample.at >= samples[-1].at / 2]
    values = [float(getattr(sample, bound.name)) for sample in half]
    slopes = [
        (values[j] - values[i]) / (half[j].at - half[i].at) for i in range(len(half)) for j in range(i + 1, len(half))
    ]
    rise = statistics.median(slopes) * (half[-1].at - half[0].at) if slopes else 0.0
    return rise, max(bound.share * statistics.median(values), bound.least)


def grown(samples: Sequence[Sample]) -> list[str]:
    """Returns a sentence for each quantity that grows too much."""
    found = []
    for bound in BOUNDS:
        rise, allowed = growth(samples, bound)
        if rise > allowed:
            found.append(f"{bound.name} rises by {rise:.1f} over the second half; {allowed:.1f} is allowed")
    return found


def percentile(values: Sequence[float], percent: float) -> float:
    """By nearest rank; 0 without values."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * percent / 100))] if ordered else 0.0


def _memory(process: psutil.Process) -> tuple[int, int]:
    try:
        full = process.memory_full_info()
    except psutil.AccessDenied:
        return process.memory_info().rss, process.memory_info().rss
    return full.rss, full.pss
