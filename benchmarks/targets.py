"""The targets, as ratios. Each ratio is computed in every round; the median of the rounds counts."""

import statistics
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from benchmarks.contestants import FOVEA, FOVEA_2
from benchmarks.results import LOOP, Measurement, Results
from benchmarks.scenarios import (
    BATCH,
    BIG,
    DEFAULT,
    EIGHT,
    INT8,
    MOST,
    NO_COST,
    NO_COST_RAW,
    ONE,
    Load,
    Workload,
)

Value = Callable[[Measurement], float]
Pick = Callable[[Iterable[float]], float]

_SAME_STEPS = (f"{LOOP}: threads", f"{LOOP}: processes")
_ALL_CORES = (f"{LOOP}: all cores in one run",)


@dataclass(frozen=True, slots=True)
class Target:
    """`value` is None if a part of it was not measured. `at_least`: more is better."""

    name: str
    value: float | None
    bound: float
    at_least: bool = True

    @property
    def met(self) -> bool | None:
        if self.value is None:
            return None
        return self.value >= self.bound if self.at_least else self.value <= self.bound


def targets(results: Results) -> list[Target]:
    """All targets in the order of docs/performance.md."""
    ask = _Ratios(results)
    throughput = "Throughput at 8 connections, Fovea / best peer: "
    latency = "p50 at 1 connection, best peer / Fovea: "
    same = "Throughput at 8 connections, Fovea / bare loop of the same decode and preprocess: "
    return [
        Target("Throughput at 8 connections, Fovea / best bare loop: default model", ask.to_limit(DEFAULT, EIGHT), 0.9),
        Target(
            f"Throughput at 8 connections, {FOVEA_2} / best bare loop: default model",
            ask.to_limit(DEFAULT, EIGHT, fovea=FOVEA_2),
            0.93,
        ),
        Target("Throughput at 8 connections, Fovea / best bare loop: int8 twin", ask.to_limit(INT8, EIGHT), 0.85),
        *(
            Target(throughput + workload.name, ask.to_best_peer(workload), bound)
            for workload, bound in ((DEFAULT, 1.15), (INT8, 1.2), (NO_COST, 1.5), (BIG, 2.4))
        ),
        *(
            Target(latency + workload.name, ask.latency_to_best_peer(workload), bound)
            for workload, bound in ((DEFAULT, 1.1), (BIG, 2.6))
        ),
        Target(
            "p50 at 1 connection / decode, preprocess and a run on all cores in a bare loop",
            ask.to_all_cores_run(),
            1.15,
            at_least=False,
        ),
        Target(same + "no-cost model, multipart", ask.to_limit(NO_COST, EIGHT, _SAME_STEPS), 0.8),
        Target(same + "no-cost model, raw body", ask.to_limit(NO_COST_RAW, EIGHT, _SAME_STEPS), 0.85),
        Target(
            f"Pictures a second, {BATCH.name.split(', ')[1]} in one request / best bare loop",
            ask.to_limit(BATCH, ONE),
            0.95,
        ),
        # On two cores benchmarks/simulation.py has 5.8 without any variation of the work.
        Target("Open loop at 70 % of the limit, p99 / p50 at 1 connection", ask.tail(), 7.0, at_least=False),
        Target("RSS after 20,000 requests of mixed photos / after 1,000", _memory(results), 1.1, at_least=False),
    ]


class _Ratios:
    """Each ratio is None if no round has both parts."""

    def __init__(self, results: Results) -> None:
        self._results = results

    def to_limit(self, workload: Workload, load: Load, ways: Sequence[str] = (), fovea: str = FOVEA) -> float | None:
        loops = [m for m in self._results.loops(workload.loop_name) if not ways or m.contestant in ways]
        return _ratio(self._fovea(workload, load, _throughput, fovea), _per_round(loops, _throughput, max))

    def to_best_peer(self, workload: Workload) -> float | None:
        best = _per_round(self._peers(workload, EIGHT), _throughput, max)
        return _ratio(self._fovea(workload, EIGHT, _throughput), best)

    def latency_to_best_peer(self, workload: Workload) -> float | None:
        best = _per_round(self._peers(workload, ONE), _p50, min)
        return _ratio(best, self._fovea(workload, ONE, _p50))

    def to_all_cores_run(self) -> float | None:
        loops = [m for m in self._results.loops(DEFAULT.loop_name) if m.contestant in _ALL_CORES]
        return _ratio(self._fovea(DEFAULT, ONE, _p50), _per_round(loops, _p50, min))

    def tail(self) -> float | None:
        return _ratio(self._fovea(DEFAULT, MOST, lambda m: m.p99_ms), self._fovea(DEFAULT, ONE, _p50))

    def _fovea(self, workload: Workload, load: Load, value: Value, name: str = FOVEA) -> dict[int, float]:
        return {m.round: value(m) for m in self._results.of(name, workload.name, load.name)}

    def _peers(self, workload: Workload, load: Load) -> list[Measurement]:
        return [
            m
            for m in self._results.measurements
            if (m.workload, m.load) == (workload.name, load.name) and not m.contestant.startswith(FOVEA)
        ]


def _ratio(above: dict[int, float], below: dict[int, float]) -> float | None:
    """The median of the rounds that have both."""
    ratios = [above[number] / below[number] for number in above if below.get(number)]
    return statistics.median(ratios) if ratios else None


def _per_round(found: Iterable[Measurement], value: Value, pick: Pick) -> dict[int, float]:
    """The best of each round."""
    rounds: dict[int, list[float]] = {}
    for m in found:
        rounds.setdefault(m.round, []).append(value(m))
    return {number: pick(values) for number, values in rounds.items()}


def _memory(results: Results) -> float | None:
    if len(results.memory_mib) < 2:
        return None
    return results.memory_mib[max(results.memory_mib)] / results.memory_mib[min(results.memory_mib)]


def _throughput(m: Measurement) -> float:
    return m.throughput


def _p50(m: Measurement) -> float:
    return m.p50_ms
