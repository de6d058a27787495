"""What pays on this machine is measured: runs of one model, narrow and wide, alone and side by side, in batches or not.

Candidates take turns, round after round, so that a machine whose speed drifts is fair to all; they are compared within
their round, and what differs from the default plan must be clearly better in the median of the rounds. Where runs side
by side bring little more than one, somebody else has the cores: then nothing is concluded.
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

# Seconds that measuring may take, about, once its sessions are loaded; on a device there is more to find out.
_BUDGET_S = {TuneLevel.QUICK: 0.5, TuneLevel.FULL: 20.0}
_DEVICE_BUDGET_S = {TuneLevel.QUICK: 5.0, TuneLevel.FULL: 60.0}
_LEAST_ROUNDS, _MOST_ROUNDS = 3, 15
# A candidate's turn lasts at least so long, so that the clock and the threads' start do not matter.
_TURN_S = 0.01
# Of a run's time, in that of the one it is compared with; of the pictures a second, likewise.
_CLEARLY_FASTER, _CLEARLY_SLOWER = 0.9, 1.1
_CLEARLY_MORE = 1.1
# What runs on all cores at once bring, in so many times what one brings; where two cores are two threads of one, 0.6.
_LEAST_EFFICIENCY = 0.55
_BATCHES = (2, 4, 8, 16, 32)
# To wake a thread of the runtime's takes as long as such a run.
_TINY_RUN_S = 0.0001


@dataclass(frozen=True, slots=True)
class Measurement:
    """`runs` runs at the same time, each with `batch` pictures and `threads` intra-op threads; `ms` is a run's median."""

    threads: int
    batch: int
    runs: int
    ms: float
    pictures_per_s: float


@dataclass(frozen=True, slots=True)
class Tuning:
    """A plan and what it was decided from; `measured_at` in UTC. Worth remembering when it is `conclusive`."""

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
    """1, powers of two, and all cores; for a quick look only one between the two ends."""
    powers = [2**n for n in range(cores.bit_length()) if 2**n < cores]
    if level is TuneLevel.QUICK and len(powers) > 2:
        powers = [1, powers[len(powers) // 2]]
    return (*powers, cores)


@dataclass(frozen=True, slots=True)
class Subject:
    """What is measured: `sessions` by threads, `inputs` for a run of so many pictures.

    `can_batch` finds out whether a run may have several; it is asked where that could matter.
    """

    sessions: Mapping[int, Session]
    inputs: Callable[[int], Inputs]
    can_batch: Callable[[], bool]

    @property
    def on_cpu(self) -> bool:
        return next(iter(self.sessions.values())).on_cpu


def measure(subject: Subject, cores: int, level: TuneLevel) -> Tuning:
    """The plan that is best here, why, and the figures. Raises ModelRunError."""
    budget_s = (_BUDGET_S if subject.on_cpu else _DEVICE_BUDGET_S)[level]
    wanted = _candidates(subject, cores, level)
    run_s = _one_run_s(subject, wanted[0])
    if subject.on_cpu and run_s < _TINY_RUN_S:
        return Tuning(level, RunPlan(), "one run is too short to be shared out", (), _now())
    candidates = _affordable(wanted, run_s, budget_s)
    default = default_plan(cores, on_cpu=subject.on_cpu)
    if len(candidates) < len(subject.sessions):
        return Tuning(level, default, "not measured: one run takes too long for the time there is", (), _now())
    rounds = _Rounds(subject, candidates)
    rounds.measure(budget_s)
    alone = [c for c in candidates if c.batch == c.runs == 1]
    busy = [c for c in candidates if c not in alone]
    side_by_side = busy and busy[0].batch == 1
    if subject.on_cpu and side_by_side and rounds.efficiency(busy[0], alone[0]) < _LEAST_EFFICIENCY:
        reason = "others were busy on these cores, so this is the default; it is measured again at the next load"
        return Tuning(level, default, reason, rounds.table(), _now(), conclusive=False)
    compared = busy if side_by_side else [alone[0], *busy]
    plan = RunPlan(_thread_counts_that_pay(rounds, alone), *_batch_that_pays(rounds, compared))
    reason = f"medians of {rounds.count} rounds; what differs from the default is better by a tenth or more"
    return Tuning(level, plan, reason, rounds.table(), _now())


def _now() -> datetime:
    return datetime.now(UTC)


def _candidates(subject: Subject, cores: int, level: TuneLevel) -> list[Candidate]:
    """On a CPU a batch brings little, so that a quick look does not try any."""
    intra_op_threads, on_cpu = sorted(subject.sessions), subject.on_cpu
    runs = cores if on_cpu else DEVICE_RUNS
    found = [Candidate(threads) for threads in intra_op_threads]
    if runs > 1:
        found.append(Candidate(intra_op_threads[0], runs=runs))
    if (level is TuneLevel.FULL or not on_cpu) and subject.can_batch():
        found += [Candidate(intra_op_threads[0], batch, runs) for batch in _BATCHES]
    return found


def _one_run_s(subject: Subject, candidate: Candidate) -> float:
    """Seconds of a run of one picture; the first run, which sets things up, does not count."""
    session, inputs = subject.sessions[candidate.threads], subject.inputs(1)
    session.run(inputs)
    started = perf_counter()
    session.run(inputs)
    return perf_counter() - started


def _affordable(candidates: Sequence[Candidate], run_s: float, budget_s: float) -> list[Candidate]:
    """Those, from the first on, whose least number of rounds takes little more than the budget, whatever they bring."""
    longest = accumulate(run_s * c.batch * c.runs * _LEAST_ROUNDS for c in candidates)
    return [c for c, seconds in zip(candidates, longest, strict=True) if seconds <= 2 * budget_s]


class _Rounds:
    """Seconds a run by candidate, one figure a round."""

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
            while self.count < _LEAST_ROUNDS or (self.count < _MOST_ROUNDS and perf_counter() < until):
                for candidate in self._candidates:
                    self._seconds[candidate].append(self._turn(candidate, threads))

    def ratio(self, candidate: Candidate, other: Candidate) -> float:
        """Time a run of `candidate` in that of `other`, the median over the rounds."""
        pairs = zip(self._seconds[candidate], self._seconds[other], strict=True)
        return median(one / two for one, two in pairs)

    def efficiency(self, together: Candidate, alone: Candidate) -> float:
        """What runs side by side bring, each in the pictures a second of one that is alone: 1 is the best."""
        return 1 / self.ratio(together, alone)

    def table(self) -> tuple[Measurement, ...]:
        return tuple(self._measurement(candidate) for candidate in self._candidates)

    def _measurement(self, candidate: Candidate) -> Measurement:
        seconds = median(self._seconds[candidate])
        per_s = candidate.batch * candidate.runs / seconds
        return Measurement(candidate.threads, candidate.batch, candidate.runs, round(seconds * 1e3, 3), round(per_s, 1))

    def _turn(self, candidate: Candidate, threads: ThreadPoolExecutor) -> float:
        """Mean seconds a run, `runs` at once."""
        last = self._seconds[candidate][-1:] or [_TURN_S / 2]
        repeats = max(1, math.ceil(_TURN_S / last[0]))
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


def _thread_counts_that_pay(rounds: _Rounds, alone: Sequence[Candidate]) -> tuple[int, ...]:
    """The narrowest; all cores, unless that is clearly slower; those between where each is clearly faster."""
    kept = [alone[0]]
    for candidate in alone[1:]:
        bound = _CLEARLY_SLOWER if candidate is alone[-1] else _CLEARLY_FASTER
        if rounds.ratio(candidate, kept[-1]) <= bound:
            kept.append(candidate)
    return tuple(candidate.threads for candidate in kept)


def _batch_that_pays(rounds: _Rounds, busy: Sequence[Candidate]) -> tuple[int, int]:
    """Pictures a run and runs at once: each larger batch must bring clearly more a second than the one kept before."""
    if not busy:
        return 1, 1
    kept = busy[0]
    for candidate in busy[1:]:
        more = candidate.batch / kept.batch / rounds.ratio(candidate, kept)
        if more >= _CLEARLY_MORE:
            kept = candidate
    return kept.batch, kept.runs if kept.batch > 1 else 1
