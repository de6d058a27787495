"""The plan that follows from measurements. Each run advances a clock of the tests by its cost."""

from collections.abc import Callable, Mapping
from threading import Lock, get_ident

import numpy as np
import pytest

from engine.scheduling import tuning as tuning_module
from engine.scheduling.run_plan import RunPlan, TuneLevel
from engine.scheduling.tuning import Subject, measure, thread_counts_to_try
from loaders.runtimes.base import RunStop, Session
from loaders.tensors import Tensor, TensorInfo

# Seconds of a run, by its number of threads and of pictures.
Cost = Callable[[int, int], float]


class Clock:
    """Parallel threads advance it together, unless they share `one_core`."""

    def __init__(self) -> None:
        self.now, self.one_core, self._lock = 0.0, False, Lock()
        self._of_threads: dict[int, float] = {}

    def __call__(self) -> float:
        self.now = max([self.now, *self._of_threads.values()])
        self._of_threads.clear()
        return self.now

    def advance(self, seconds: float) -> None:
        with self._lock:
            thread = 0 if self.one_core else get_ident()
            self._of_threads[thread] = self._of_threads.get(thread, self.now) + seconds


class CostlySession(Session):
    inputs = outputs = (TensorInfo("x", "float32", (None, 1)),)
    on_cpu = True

    def __init__(self, clock: Clock, threads: int, cost: Cost, *, on_cpu: bool) -> None:
        self.on_cpu = on_cpu
        self.providers = ("CPUExecutionProvider",) if on_cpu else ("CUDAExecutionProvider",)
        self._clock, self._threads, self._cost = clock, threads, cost
        self.runs = 0

    def run(self, inputs: Mapping[str, Tensor], stop: RunStop | None = None) -> dict[str, Tensor]:  # noqa: ARG002 - the interface
        self.runs += 1
        self._clock.advance(self._cost(self._threads, len(inputs["x"])))
        return {"x": inputs["x"]}


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(tuning_module, "perf_counter", clock)
    return clock


def subject(
    clock: Clock, cost: Cost, intra_op_threads: tuple[int, ...], *, on_cpu: bool = True, batch: bool = True
) -> Subject:
    sessions = {threads: CostlySession(clock, threads, cost, on_cpu=on_cpu) for threads in intra_op_threads}
    return Subject(sessions, lambda pictures: {"x": np.zeros((pictures, 1), np.float32)}, lambda: batch)


@pytest.mark.parametrize(
    ("cores", "intra_op_threads"), [(1, (1,)), (2, (1, 2)), (3, (1, 2, 3)), (4, (1, 2, 4)), (12, (1, 2, 4, 8, 12))]
)
def test_thread_counts_to_try(cores: int, intra_op_threads: tuple[int, ...]) -> None:
    assert thread_counts_to_try(cores) == intra_op_threads


@pytest.mark.parametrize(
    ("what", "cost", "intra_op_threads"),
    [
        ("halves with the cores", lambda threads, _: 0.01 / threads, (1, 2, 4)),
        ("gains nothing beyond two", lambda threads, _: 0.01 / min(threads, 2), (1, 2, 4)),
        ("gains a twentieth each time", lambda threads, _: 0.01 * 0.95 ** (threads - 1), (1, 4)),
        ("gains nothing", lambda *_: 0.01, (1, 4)),
        ("loses a little", lambda threads, _: 0.01 * 1.02 ** (threads - 1), (1, 4)),
        ("loses", lambda threads, _: 0.01 * threads, (1,)),
    ],
)
def test_all_cores_unless_clearly_slower_and_numbers_between_if_clearly_faster(
    clock: Clock, what: str, cost: Cost, intra_op_threads: tuple[int, ...]
) -> None:
    found = measure(subject(clock, cost, (1, 2, 4)), 4, TuneLevel.QUICK)
    assert found.plan == RunPlan(intra_op_threads), what
    assert [(row.threads, row.batch, row.runs) for row in found.measured] == [
        (1, 1, 1),
        (2, 1, 1),
        (4, 1, 1),
        (1, 1, 4),
    ]
    assert found.measured[0].ms == pytest.approx(10.0)
    assert found.measured[0].pictures_per_s == pytest.approx(100.0)


@pytest.mark.parametrize(
    ("what", "cost", "batch"),
    [
        ("another picture costs nothing", lambda *_: 0.01, 32),
        ("another picture costs as much", lambda _, batch: 0.01 * batch, 1),
        ("eight at once, then no gain", lambda _, batch: 0.01 * max(1, batch / 8), 8),
        ("a twentieth better", lambda _, batch: 0.01 * batch * 0.95, 1),
    ],
)
def test_a_device_batches_if_that_clearly_gains_throughput(clock: Clock, what: str, cost: Cost, batch: int) -> None:
    found = measure(subject(clock, cost, (1,), on_cpu=False), 4, TuneLevel.QUICK)
    assert found.plan == RunPlan((1,), batch, 2 if batch > 1 else 1), what


def test_on_a_cpu_only_the_full_level_tries_batches(clock: Clock) -> None:
    levels = (TuneLevel.QUICK, TuneLevel.FULL)
    quick, full = (measure(subject(clock, lambda *_: 0.001, (1, 2)), 2, level) for level in levels)
    assert {row.batch for row in quick.measured} == {1}
    assert {row.batch for row in full.measured} == {1, 2, 4, 8, 16, 32}
    assert full.plan.batch > 1


def test_a_graph_without_a_batch_dimension_is_measured_with_one_picture(clock: Clock) -> None:
    found = measure(subject(clock, lambda *_: 0.001, (1,), on_cpu=False, batch=False), 2, TuneLevel.FULL)
    assert {row.batch for row in found.measured} == {1}


def test_a_long_run_is_not_measured(clock: Clock) -> None:
    slow = subject(clock, lambda *_: 2.0, (1, 2))
    found = measure(slow, 2, TuneLevel.QUICK)
    assert found.plan == RunPlan((1, 2))
    assert (found.measured, clock()) == ((), 4.0)
    assert "too long" in found.reason


def test_one_slow_round_changes_nothing(clock: Clock) -> None:
    """Another program delays the run on all cores in the first round."""
    runs = iter(range(10_000))

    def cost(threads: int, _: int) -> float:
        return 0.5 if next(runs) == 8 else 0.01 / threads

    assert measure(subject(clock, cost, (1, 2)), 2, TuneLevel.FULL).plan.intra_op_threads == (1, 2)


def test_with_other_programs_on_the_cores_the_result_is_not_conclusive(clock: Clock) -> None:
    clock.one_core = True
    found = measure(subject(clock, lambda *_: 0.01, (1, 2, 4)), 4, TuneLevel.QUICK)
    assert found.plan == RunPlan((1, 4)), "the default"
    assert not found.conclusive
    assert "other programs" in found.reason


def test_a_run_of_microseconds_uses_one_thread(clock: Clock) -> None:
    found = measure(subject(clock, lambda threads, _: 0.00005 / threads, (1, 2, 4)), 4, TuneLevel.FULL)
    assert found.plan == RunPlan((1,))
    assert "too short" in found.reason
