"""What is decided from what was measured. Time is a clock that each run moves by what it costs: nothing is timed."""

from collections.abc import Callable, Mapping
from threading import Lock, get_ident

import numpy as np
import pytest

from engine.scheduling import tuning as tuning_module
from engine.scheduling.run_plan import RunPlan, TuneLevel
from engine.scheduling.tuning import Subject, measure, thread_counts_to_try
from loaders.runtimes.base import RunStop, Session
from loaders.tensors import Tensor, TensorInfo

# Seconds that a run of so many pictures takes on so many cores.
Cost = Callable[[int, int], float]


class Clock:
    """Threads that run side by side advance it together, unless there is one core for all of them."""

    def __init__(self) -> None:
        self.now, self.one_core, self._lock = 0.0, False, Lock()
        self._of_threads: dict[int, float] = {}

    def __call__(self) -> float:
        self.now = max([self.now, *self._of_threads.values()])
        self._of_threads.clear()
        return self.now

    def advance(self, seconds: float) -> None:
        with self._lock:
            who = 0 if self.one_core else get_ident()
            self._of_threads[who] = self._of_threads.get(who, self.now) + seconds


class CostlySession(Session):
    inputs = outputs = (TensorInfo("x", "float32", (None, 1)),)
    on_cpu = True

    def __init__(self, clock: Clock, threads: int, cost: Cost, *, on_cpu: bool) -> None:
        self.on_cpu = on_cpu
        self.providers = ("CPUExecutionProvider",) if on_cpu else ("CUDAExecutionProvider",)
        self._clock, self._width, self._cost = clock, threads, cost
        self.runs = 0

    def run(self, inputs: Mapping[str, Tensor], stop: RunStop | None = None) -> dict[str, Tensor]:  # noqa: ARG002 - the interface
        self.runs += 1
        self._clock.advance(self._cost(self._width, len(inputs["x"])))
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
    ("cores", "level", "intra_op_threads"),
    [
        (1, TuneLevel.FULL, (1,)),
        (2, TuneLevel.QUICK, (1, 2)),
        (3, TuneLevel.QUICK, (1, 2, 3)),
        (4, TuneLevel.FULL, (1, 2, 4)),
        (12, TuneLevel.FULL, (1, 2, 4, 8, 12)),
        (16, TuneLevel.QUICK, (1, 4, 16)),
    ],
)
def test_widths_to_try(cores: int, level: TuneLevel, intra_op_threads: tuple[int, ...]) -> None:
    assert thread_counts_to_try(cores, level) == intra_op_threads


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
def test_all_cores_unless_that_is_clearly_slower_and_between_what_is_clearly_faster(
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
        ("a picture more costs nothing", lambda *_: 0.01, 32),
        ("a picture more costs as much", lambda _, batch: 0.01 * batch, 1),
        ("eight at once, then no gain", lambda _, batch: 0.01 * max(1, batch / 8), 8),
        ("a twentieth better", lambda _, batch: 0.01 * batch * 0.95, 1),
    ],
)
def test_a_batch_is_kept_on_a_device_when_it_clearly_brings_more(
    clock: Clock, what: str, cost: Cost, batch: int
) -> None:
    found = measure(subject(clock, cost, (1,), on_cpu=False), 4, TuneLevel.QUICK)
    assert found.plan == RunPlan((1,), batch, 2 if batch > 1 else 1), what


def test_on_a_cpu_a_quick_look_tries_no_batch_and_a_full_one_does(clock: Clock) -> None:
    levels = (TuneLevel.QUICK, TuneLevel.FULL)
    quick, full = (measure(subject(clock, lambda *_: 0.001, (1, 2)), 2, level) for level in levels)
    assert {row.batch for row in quick.measured} == {1}
    assert {row.batch for row in full.measured} == {1, 2, 4, 8, 16, 32}
    assert full.plan.batch > 1


def test_a_graph_that_takes_one_picture_only_is_never_tried_with_more(clock: Clock) -> None:
    found = measure(subject(clock, lambda *_: 0.001, (1,), on_cpu=False, batch=False), 2, TuneLevel.FULL)
    assert {row.batch for row in found.measured} == {1}


def test_a_run_that_takes_long_is_not_measured(clock: Clock) -> None:
    slow = subject(clock, lambda *_: 2.0, (1, 2))
    found = measure(slow, 2, TuneLevel.QUICK)
    assert found.plan == RunPlan((1, 2))
    assert (found.measured, clock()) == ((), 4.0)
    assert "too long" in found.reason


def test_a_single_round_gone_wrong_changes_nothing(clock: Clock) -> None:
    """A neighbour takes the machine away for a while in the first round, when the wide run had its turn."""
    runs = iter(range(10_000))

    def cost(threads: int, _: int) -> float:
        return 0.5 if next(runs) == 8 else 0.01 / threads

    assert measure(subject(clock, cost, (1, 2)), 2, TuneLevel.FULL).plan.intra_op_threads == (1, 2)


def test_with_somebody_else_on_the_cores_nothing_is_concluded(clock: Clock) -> None:
    clock.one_core = True
    found = measure(subject(clock, lambda *_: 0.01, (1, 2, 4)), 4, TuneLevel.QUICK)
    assert found.plan == RunPlan((1, 4)), "the default"
    assert not found.conclusive
    assert "others were busy" in found.reason


def test_a_run_of_microseconds_is_never_shared_out(clock: Clock) -> None:
    found = measure(subject(clock, lambda threads, _: 0.00005 / threads, (1, 2, 4)), 4, TuneLevel.FULL)
    assert found.plan == RunPlan((1,))
    assert "too short" in found.reason
