"""Which session runs: by the cores there are for it, and together where pictures meet."""

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import numpy as np
import pytest

from engine.scheduling.run_context import alone
from engine.scheduling.run_plan import RunLimits, RunPlan, default_plan
from engine.scheduling.runner import Runner
from loaders.runtimes.base import RunStop, Session
from loaders.tensors import Tensor, TensorInfo
from tests.engine.models.loading import WAIT_S
from utils.time_utils import StageTimer


class NamedSession(Session):
    """Answers how wide it is, and notes the batches it was given."""

    inputs = outputs = (TensorInfo("x", "float32", (None, 1)),)
    providers = ("CPUExecutionProvider",)
    on_cpu = True

    def __init__(self, threads: int) -> None:
        self.threads = threads
        self.batches: list[int] = []

    def run(self, inputs: Mapping[str, Tensor], stop: RunStop | None = None) -> dict[str, Tensor]:  # noqa: ARG002 - the interface
        self.batches.append(len(inputs["x"]))
        return {"x": np.full((len(inputs["x"]), 1), self.threads, np.float32)}


def width_used(runner: Runner, cores: int) -> int:
    outputs = runner.run({"x": np.zeros((1, 1), np.float32)}, alone(StageTimer(), cores))
    return int(outputs["x"][0, 0])


@pytest.mark.parametrize(("cores", "threads"), [(1, 1), (2, 1), (3, 1), (4, 4), (7, 4), (8, 8), (64, 8)])
def test_a_run_is_as_wide_as_its_share_of_the_cores(cores: int, threads: int) -> None:
    runner = Runner({threads: [NamedSession(threads)] for threads in (1, 4, 8)}, RunPlan((1, 4, 8)))
    assert width_used(runner, cores) == threads


def test_a_plan_without_a_narrow_run_has_one_width_for_all() -> None:
    runner = Runner({4: [NamedSession(4)]}, RunPlan((4,)))
    assert [width_used(runner, cores) for cores in (1, 4, 8)] == [4, 4, 4]


def test_alone_it_runs_wide_and_among_many_together() -> None:
    narrow, wide = NamedSession(1), NamedSession(4)
    runner = Runner({1: [narrow], 4: [wide]}, RunPlan((1, 4), batch=4), wait_s=WAIT_S)
    assert width_used(runner, 4) == 4
    together = Barrier(4)

    def ask() -> int:
        together.wait(WAIT_S)
        return width_used(runner, 1)

    with ThreadPoolExecutor(4) as threads:
        assert [future.result(WAIT_S) for future in [threads.submit(ask) for _ in range(4)]] == [1] * 4
    assert (narrow.batches, wide.batches) == ([4], [1])


@pytest.mark.parametrize(
    ("cores", "on_cpu", "plan"),
    [(1, True, RunPlan((1,))), (8, True, RunPlan((1, 8))), (8, False, RunPlan((1,), 8, 2))],
)
def test_where_nothing_was_measured(cores: int, on_cpu: bool, plan: RunPlan) -> None:
    assert default_plan(cores, on_cpu=on_cpu) == plan


@pytest.mark.parametrize(("plan", "lanes"), [(RunPlan((1, 4)), 4), (RunPlan((1,), batch=8, runs=2), 20)])
def test_lanes_are_cores_and_those_that_wait_in_a_batch(plan: RunPlan, lanes: int) -> None:
    assert plan.lanes(4) == lanes


def test_a_graph_that_takes_one_picture_is_never_given_more() -> None:
    for limits in (RunLimits(batch=8), RunLimits()):
        assert limits.apply(RunPlan((1,), 4), 2, on_cpu=True, can_batch=False).batch == 1


def test_each_of_several_at_once_has_a_session_of_its_own() -> None:
    """And one after the other the same, whose memory is warm; more of them than sessions share one."""
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
    assert used == ["a"] * 3
    used.clear()
    with ThreadPoolExecutor(3) as threads:
        for done in [
            threads.submit(runner.run, {"x": np.ones((1, 1), np.float32)}, alone(StageTimer())) for _ in "abc"
        ]:
            done.result(WAIT_S)
    assert sorted(used) == ["a", "a", "b"]
