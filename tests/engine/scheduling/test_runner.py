"""Which session a run uses: by its cores, and one run for several pictures."""

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier, Event

import numpy as np
import pytest

from engine.scheduling.run_context import alone
from engine.scheduling.run_plan import RunLimits, RunPlan, default_plan
from engine.scheduling.runner import Runner
from loaders.runtimes.base import RunStop, Session
from loaders.tensors import Tensor, TensorInfo
from tests.engine.models.loading import WAIT_S, eventually
from utils.time_utils import StageTimer


class NamedSession(Session):
    """Answers its number of threads, records its batches, and waits for `gate`."""

    inputs = outputs = (TensorInfo("x", "float32", (None, 1)),)
    providers = ("CPUExecutionProvider",)
    on_cpu = True

    def __init__(self, threads: int) -> None:
        self.threads = threads
        self.batches: list[int] = []
        self.gate = Event()
        self.gate.set()

    def run(self, inputs: Mapping[str, Tensor], stop: RunStop | None = None) -> dict[str, Tensor]:  # noqa: ARG002 - the interface
        self.batches.append(len(inputs["x"]))
        assert self.gate.wait(WAIT_S)
        return {"x": np.full((len(inputs["x"]), 1), self.threads, np.float32)}


def threads_used(runner: Runner, cores: int) -> int:
    outputs = runner.run({"x": np.zeros((1, 1), np.float32)}, alone(StageTimer(), cores))
    return int(outputs["x"][0, 0])


@pytest.mark.parametrize(("cores", "threads"), [(1, 1), (2, 1), (3, 1), (4, 4), (7, 4), (8, 8), (64, 8)])
def test_a_run_uses_as_many_threads_as_its_cores_allow(cores: int, threads: int) -> None:
    runner = Runner({threads: [NamedSession(threads)] for threads in (1, 4, 8)}, RunPlan((1, 4, 8)))
    assert threads_used(runner, cores) == threads


def test_a_plan_with_one_number_of_threads_always_uses_it() -> None:
    runner = Runner({4: [NamedSession(4)]}, RunPlan((4,)))
    assert [threads_used(runner, cores) for cores in (1, 4, 8)] == [4, 4, 4]


def test_a_plan_with_batches_uses_all_cores_for_one_picture_and_one_run_for_several() -> None:
    one, four = NamedSession(1), NamedSession(4)
    one.gate.clear()
    runner = Runner({1: [one], 4: [four]}, RunPlan((1, 4), batch=4))
    batcher = runner._batcher
    ran: list[int] = []
    runner.ran = ran.append
    assert batcher
    assert threads_used(runner, 4) == 4
    with ThreadPoolExecutor(5) as threads:
        first = threads.submit(threads_used, runner, 1)
        assert eventually(lambda: one.batches)
        others = [threads.submit(threads_used, runner, 1) for _ in range(4)]
        assert eventually(lambda: batcher.waiting == 4)
        one.gate.set()
        assert [future.result(WAIT_S) for future in (first, *others)] == [1] * 5
    assert (one.batches, four.batches) == ([1, 4], [1])
    assert ran == [1, 4]  # runs that may have several pictures


@pytest.mark.parametrize(
    ("cores", "on_cpu", "plan"),
    [(1, True, RunPlan((1,))), (8, True, RunPlan((1, 8))), (8, False, RunPlan((1,), 8, 2))],
)
def test_default_plan(cores: int, on_cpu: bool, plan: RunPlan) -> None:
    assert default_plan(cores, on_cpu=on_cpu) == plan


@pytest.mark.parametrize(("plan", "concurrency"), [(RunPlan((1, 4)), 4), (RunPlan((1,), batch=8, runs=2), 20)])
def test_concurrency_is_a_picture_a_core_and_those_in_batches(plan: RunPlan, concurrency: int) -> None:
    assert plan.concurrency(4) == concurrency


def test_a_graph_without_a_batch_dimension_gets_one_picture_a_run() -> None:
    for limits in (RunLimits(batch=8), RunLimits()):
        assert limits.apply(RunPlan((1,), 4), 2, on_cpu=True, can_batch=False).batch == 1


def test_parallel_runs_use_different_sessions() -> None:
    """Successive runs use the same one, whose memory is allocated; runs beyond the number of sessions share one."""
    inside = Barrier(3)
    used: list[str] = []

    class Twin(NamedSession):
        def __init__(self, name: str) -> None:
            super().__init__(1)
            self.name = name

        def run(self, inputs: Mapping[str, Tensor], stop: RunStop | None = None) -> dict[str, Tensor]:
            used.append(self.name)
            if inputs["x"][0, 0] == 1:
                inside.wait(WAIT_S)
            return super().run(inputs, stop)

    runner = Runner({1: [Twin("a"), Twin("b")]}, RunPlan((1,)))
    for _ in range(3):
        runner.run({"x": np.zeros((1, 1), np.float32)}, alone(StageTimer()))
    assert used == used[:1] * 3
    used.clear()
    with ThreadPoolExecutor(3) as threads:
        for done in [
            threads.submit(runner.run, {"x": np.ones((1, 1), np.float32)}, alone(StageTimer())) for _ in "abc"
        ]:
            done.result(WAIT_S)
    assert set(used) == {"a", "b"}
