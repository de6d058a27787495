"""Measures one model's runs with several numbers of threads, alone and in parallel, with and without batches.

Candidates are interleaved in rounds and compared within a round, so that a drifting machine affects all alike. A
candidate replaces the default plan if it is better by a tenth in the median of the rounds. If runs in parallel gain
little over one, other programs use the cores, and the result is not conclusive.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import accumulate
from statistics import median
from threading import Barrier
from time import perf_counter

from engine.scheduling.run_plan import DEVICE_RUNS, RunPlan, TuneLevel, default_plan
from loaders.runtimes.base import Session
from loaders.tensors import Tensor

Inputs = Mapping[str, Tensor]

# About how many seconds measuring takes once its sessions are loaded; a device has more candidates.
_BUDGET_S = {TuneLevel.QUICK: 0.5, TuneLevel.FULL: 20.0}
_DEVICE_BUDGET_S = {TuneLevel.QUICK: 5.0, TuneLevel.FULL: 60.0}
_MIN_ROUNDS, _MAX_ROUNDS = 3, 15
# A candidate runs at least this long in a round, so that the clock and starting threads do not matter.
_MIN_SAMPLE_S = 0.01
# The time of a run relative to the one it is compared with; below that, pictures a second.
_CLEARLY_FASTER, _CLEARLY_SLOWER = 0.9, 1.1
_CLEARLY_MORE = 1.1
# Throughput of runs on all cores at once, a core, relative to one run alone; 0.6 where two cores are hyper-threads.
_MIN_EFFICIENCY = 0.55
_BATCHES = (2, 4, 8, 16, 32)
# Waking a thread of the runtime takes as long as a run this short.
_TINY_RUN_S = 0.0001


@dataclass(frozen=True, slots=True)
class Measurement:
    """`runs` parallel runs, each with `batch` pictures and `threads` intra-op threads; `ms` is the median of a run."""

    threads: int
    batch: int
    runs: int
    ms: float
    pictures_per_s: float


@dataclass(frozen=True, slots=True)
class Tuning:
    """A plan and the measurements behind it; `measured_at` in UTC. It is cached if it is `conclusive`."""

    level: TuneLevel
    plan: RunPlan
    reason: str
    measured: tuple[Measurement, ...]
    measured_at: datetime
    conclusive: bool = True


@dataclass(frozen=True, slots=True)
class Candidate:
    threads: int
    batch: int = 1
    runs: int = 1


def thread_counts_to_try(cores: int, level: TuneLevel) -> tuple[int, ...]:
    """1, powers of two, and all cores; at the quick level one power of two."""
    powers = [2**n for n in range(cores.bit_length()) if 2**n < cores]
    if level is TuneLevel.QUICK and len(powers) > 2:
        powers = [1, powers[len(powers) // 2]]
    return (*powers, cores)


@dataclass(frozen=True, slots=True)
class Subject:
    """The model to measure: `sessions` by threads; `inputs` makes those of a run with that many pictures.

    `can_batch` tries whether one run can have several pictures.
    """

    sessions: Mapping[int, Session]
    inputs: Callable[[int], Inputs]
    can_batch: Callable[[], bool]

    @property
    def on_cpu(self) -> bool:
        return next(iter(self.sessions.values())).on_cpu


def measure(subject: Subject, cores: int, level: TuneLevel) -> Tuning:
    """The best plan on this machine, the reason and the figures. Raises ModelRunError."""
    budget_s = (_BUDGET_S if subject.on_cpu else _DEVICE_BUDGET_S)[level]
    wanted = _candidates(subject, cores, level)
    run_s = _one_run_s(subject, wanted[0])
    if subject.on_cpu and run_s < _TINY_RUN_S:
        return Tuning(level, RunPlan(), "a run is too short for several threads", (), _now())
    candidates = _affordable(wanted, run_s, budget_s)
    default = default_plan(cores, on_cpu=subject.on_cpu)
    if len(candidates) < len(subject.sessions):
        return Tuning(level, default, "not measured: a run takes too long", (), _now())
    rounds = _Rounds(subject, candidates)
    rounds.measure(budget_s)
    alone = [c for c in candidates if c.batch == c.runs == 1]
    parallel = [c for c in candidates if c not in alone]
    unbatched = parallel and parallel[0].batch == 1
    if subject.on_cpu and unbatched and rounds.efficiency(parallel[0], alone[0]) < _MIN_EFFICIENCY:
        reason = "default: other programs used the cores while measuring; measured again at the next load"
        return Tuning(level, default, reason, rounds.table(), _now(), conclusive=False)
    compared = parallel if unbatched else [alone[0], *parallel]
    plan = RunPlan(_best_threads(rounds, alone), *_best_batch(rounds, compared))
    reason = f"medians of {rounds.count} rounds; differences from the default gain a tenth or more"
    return Tuning(level, plan, reason, rounds.table(), _now())


def _now() -> datetime:
    return datetime.now(UTC)


def _candidates(subject: Subject, cores: int, level: TuneLevel) -> list[Candidate]:
    """On a CPU a batch gains little, so the quick level tries none."""
    intra_op_threads, on_cpu = sorted(subject.sessions), subject.on_cpu
    runs = cores if on_cpu else DEVICE_RUNS
    found = [Candidate(threads) for threads in intra_op_threads]
    if runs > 1:
        found.append(Candidate(intra_op_threads[0], runs=runs))
    if (level is TuneLevel.FULL or not on_cpu) and subject.can_batch():
        found += [Candidate(intra_op_threads[0], batch, runs) for batch in _BATCHES]
    return found


def _one_run_s(subject: Subject, candidate: Candidate) -> float:
    """Seconds of a run of one picture, after a first run that allocates."""
    session, inputs = subject.sessions[candidate.threads], subject.inputs(1)
    session.run(inputs)
    started = perf_counter()
    session.run(inputs)
    return perf_counter() - started


def _affordable(candidates: Sequence[Candidate], run_s: float, budget_s: float) -> list[Candidate]:
    """The first candidates whose minimum of rounds fits in about the budget."""
    longest = accumulate(run_s * c.batch * c.runs * _MIN_ROUNDS for c in candidates)
    return [c for c, seconds in zip(candidates, longest, strict=True) if seconds <= 2 * budget_s]


class _Rounds:
    """Seconds of a run by candidate, one figure a round."""

    def __init__(self, subject: Subject, candidates: Sequence[Candidate]) -> None:
        self._sessions, self._candidates = subject.sessions, candidates
        self._inputs = {batch: subject.inputs(batch) for batch in {candidate.batch for candidate in candidates}}
        self._seconds: dict[Candidate, list[float]] = {candidate: [] for candidate in candidates}

    @property
    def count(self) -> int:
        return len(self._seconds[self._candidates[0]])

    def measure(self, budget_s: float) -> None:
        with ThreadPoolExecutor(max(candidate.runs for candidate in self._candidates)) as threads:
            until = perf_counter() + budget_s
            while self.count < _MIN_ROUNDS or (self.count < _MAX_ROUNDS and perf_counter() < until):
                for candidate in self._candidates:
                    self._seconds[candidate].append(self._sample(candidate, threads))

    def ratio(self, candidate: Candidate, other: Candidate) -> float:
        """The time of a run of `candidate` relative to one of `other`, the median of the rounds."""
        pairs = zip(self._seconds[candidate], self._seconds[other], strict=True)
        return median(one / two for one, two in pairs)

    def efficiency(self, together: Candidate, alone: Candidate) -> float:
        """Throughput of each of the parallel runs relative to one run alone; 1 is the best."""
        return 1 / self.ratio(together, alone)

    def table(self) -> tuple[Measurement, ...]:
        return tuple(self._measurement(candidate) for candidate in self._candidates)

    def _measurement(self, candidate: Candidate) -> Measurement:
        seconds = median(self._seconds[candidate])
        per_s = candidate.batch * candidate.runs / seconds
        return Measurement(candidate.threads, candidate.batch, candidate.runs, round(seconds * 1e3, 3), round(per_s, 1))

    def _sample(self, candidate: Candidate, threads: ThreadPoolExecutor) -> float:
        """Mean seconds of a run, with `runs` in parallel."""
        last = self._seconds[candidate][-1:] or [_MIN_SAMPLE_S / 2]
        repeats = max(1, math.ceil(_MIN_SAMPLE_S / last[0]))
        started = perf_counter()
        together = Barrier(candidate.runs)
        futures = [threads.submit(self._several_runs, candidate, repeats, together) for _ in range(candidate.runs)]
        for future in futures:
            future.result()
        return (perf_counter() - started) / repeats

    def _several_runs(self, candidate: Candidate, repeats: int, together: Barrier) -> None:
        together.wait()
        for _ in range(repeats):
            self._sessions[candidate.threads].run(self._inputs[candidate.batch])


def _best_threads(rounds: _Rounds, alone: Sequence[Candidate]) -> tuple[int, ...]:
    """The fewest threads; all cores unless clearly slower; each number between that is clearly faster."""
    kept = [alone[0]]
    for candidate in alone[1:]:
        bound = _CLEARLY_SLOWER if candidate is alone[-1] else _CLEARLY_FASTER
        if rounds.ratio(candidate, kept[-1]) <= bound:
            kept.append(candidate)
    return tuple(candidate.threads for candidate in kept)


def _best_batch(rounds: _Rounds, parallel: Sequence[Candidate]) -> tuple[int, int]:
    """Pictures a run, and parallel runs: a larger batch is kept if it clearly gains throughput over the one before."""
    if not parallel:
        return 1, 1
    kept = parallel[0]
    for candidate in parallel[1:]:
        gain = candidate.batch / kept.batch / rounds.ratio(candidate, kept)
        if gain >= _CLEARLY_MORE:
            kept = candidate
    return kept.batch, kept.runs if kept.batch > 1 else 1
