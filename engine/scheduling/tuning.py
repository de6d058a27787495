"""Measures one model's runs with several numbers of threads, alone and in parallel, with and without batches.

Candidates are interleaved in rounds and compared within a round, so that a drifting machine affects all alike. A
candidate replaces the default plan if it is better by a tenth in the median of the rounds. If runs in parallel gain
little over one, other programs use the cores, and the result is not conclusive.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
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
_COMPARISON_S = 1.0
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
    measured: tuple[Measurement, ...] = ()
    measured_at: datetime = field(default_factory=lambda: datetime.now(UTC))
    conclusive: bool = True


@dataclass(frozen=True, slots=True)
class Speed:
    """`ms`: of one run alone, on all cores. `pictures_per_s`: of runs at once, on one core each."""

    ms: float
    pictures_per_s: float


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


class _Candidate:
    """A way to run the model, and the mean seconds of its runs in each round."""

    def __init__(self, subject: Subject, threads: int, batch: int = 1, runs: int = 1) -> None:
        self.threads, self.batch, self.runs = threads, batch, runs
        self.seconds: list[float] = []
        self._session, self._inputs = subject.sessions[threads], subject.inputs(batch)

    def run(self) -> None:
        self._session.run(self._inputs)

    def relative_to(self, other: "_Candidate") -> float:
        """The time of its runs relative to those of `other`, the median of the rounds."""
        return median(mine / others for mine, others in zip(self.seconds, other.seconds, strict=True))

    def sample(self, threads: ThreadPoolExecutor) -> None:
        """Add the mean seconds of a run, with `runs` in parallel."""
        last = self.seconds[-1] if self.seconds else _MIN_SAMPLE_S / 2
        repeats = max(1, math.ceil(_MIN_SAMPLE_S / last))
        together = Barrier(self.runs)

        def several_runs(_: int) -> None:
            together.wait()
            for _ in range(repeats):
                self.run()

        started = perf_counter()
        list(threads.map(several_runs, range(self.runs)))
        self.seconds.append((perf_counter() - started) / repeats)

    @property
    def measurement(self) -> Measurement:
        seconds = median(self.seconds)
        per_s = self.batch * self.runs / seconds
        return Measurement(self.threads, self.batch, self.runs, round(seconds * 1e3, 3), round(per_s, 1))


def thread_counts_to_try(cores: int) -> tuple[int, ...]:
    """1, powers of two, and all cores."""
    return (*(2**n for n in range(cores.bit_length()) if 2**n < cores), cores)


def measure(subject: Subject, cores: int, level: TuneLevel) -> Tuning:
    """The best plan on this machine, the reason and the figures. Raises ModelRunError."""
    budget_s = (_BUDGET_S if subject.on_cpu else _DEVICE_BUDGET_S)[level]
    default = default_plan(cores, on_cpu=subject.on_cpu)
    alone = [_Candidate(subject, threads) for threads in sorted(subject.sessions)]
    run_s = _one_run_s(alone[0])
    if subject.on_cpu and run_s < _TINY_RUN_S:
        return Tuning(level, RunPlan(), "a run is too short for several threads")
    candidates = _affordable([*alone, *_parallel(subject, cores, level)], run_s, budget_s)
    if len(candidates) < len(alone):
        return Tuning(level, default, "not measured: a run takes too long")
    _measure(candidates, budget_s)
    table = tuple(candidate.measurement for candidate in candidates)
    parallel = candidates[len(alone) :]
    unbatched = parallel and parallel[0].batch == 1
    if subject.on_cpu and unbatched and 1 / parallel[0].relative_to(alone[0]) < _MIN_EFFICIENCY:
        reason = "default: other programs used the cores while measuring; measured again at the next load"
        return Tuning(level, default, reason, table, conclusive=False)
    plan = RunPlan(_best_threads(alone), *_best_batch(parallel if unbatched else [alone[0], *parallel]))
    reason = f"medians of {len(alone[0].seconds)} rounds; differences from the default gain a tenth or more"
    return Tuning(level, plan, reason, table)


def compare_speed(one: Subject, other: Subject, cores: int) -> tuple[Speed, Speed]:
    """Measures both in turn; each has sessions for one thread and for all cores. Raises ModelRunError."""
    alone = [_Candidate(subject, cores) for subject in (one, other)]
    parallel = [_Candidate(subject, 1, runs=cores) for subject in (one, other)]
    candidates = [*alone, *parallel]
    for candidate in candidates:
        candidate.run()  # allocates
    _measure(candidates, _COMPARISON_S)
    before, after = (
        Speed(run.measurement.ms, runs.measurement.pictures_per_s) for run, runs in zip(alone, parallel, strict=True)
    )
    return before, after


def _parallel(subject: Subject, cores: int, level: TuneLevel) -> list[_Candidate]:
    """Runs at once, and batches. On a CPU a batch gains little, so the quick level tries none."""
    threads, runs = min(subject.sessions), cores if subject.on_cpu else DEVICE_RUNS
    batches = [1] if runs > 1 else []
    if (level is TuneLevel.FULL or not subject.on_cpu) and subject.can_batch():
        batches += _BATCHES
    return [_Candidate(subject, threads, batch, runs) for batch in batches]


def _one_run_s(candidate: _Candidate) -> float:
    """Seconds of a run of one picture, after a first run that allocates."""
    candidate.run()
    started = perf_counter()
    candidate.run()
    return perf_counter() - started


def _affordable(candidates: Sequence[_Candidate], run_s: float, budget_s: float) -> list[_Candidate]:
    """The first candidates whose minimum of rounds fits in about the budget."""
    longest = accumulate(run_s * c.batch * c.runs * _MIN_ROUNDS for c in candidates)
    return [c for c, seconds in zip(candidates, longest, strict=True) if seconds <= 2 * budget_s]


def _measure(candidates: Sequence[_Candidate], budget_s: float) -> None:
    with ThreadPoolExecutor(max(candidate.runs for candidate in candidates)) as threads:
        rounds, until = 0, perf_counter() + budget_s
        while rounds < _MIN_ROUNDS or (rounds < _MAX_ROUNDS and perf_counter() < until):
            for candidate in candidates:
                candidate.sample(threads)
            rounds += 1


def _best_threads(alone: Sequence[_Candidate]) -> tuple[int, ...]:
    """The fewest threads; all cores unless clearly slower; each number between that is clearly faster."""
    kept = [alone[0]]
    for candidate in alone[1:]:
        bound = _CLEARLY_SLOWER if candidate is alone[-1] else _CLEARLY_FASTER
        if candidate.relative_to(kept[-1]) <= bound:
            kept.append(candidate)
    return tuple(candidate.threads for candidate in kept)


def _best_batch(parallel: Sequence[_Candidate]) -> tuple[int, int]:
    """Pictures a run, and parallel runs: a larger batch is kept if it clearly gains throughput over the one before."""
    if not parallel:
        return 1, 1
    kept = parallel[0]
    for candidate in parallel[1:]:
        if candidate.batch / kept.batch / candidate.relative_to(kept) >= _CLEARLY_MORE:
            kept = candidate
    return kept.batch, kept.runs if kept.batch > 1 else 1
