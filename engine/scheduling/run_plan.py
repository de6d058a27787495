"""How a model runs on this machine: intra-op threads, batch size, and batched runs at once."""

from dataclasses import dataclass
from enum import StrEnum

DEVICE_RUNS = 2  # while one run computes, the tensors of the other are copied
_DEVICE_BATCH = 8  # default of a device that computes many pictures as fast as one


class TuneLevel(StrEnum):
    """How much time may be spent on measuring when a model is loaded for the first time."""

    OFF = "off"
    QUICK = "quick"
    FULL = "full"


@dataclass(frozen=True, slots=True)
class RunPlan:
    """`intra_op_threads`: the numbers of threads that a run may use, ascending; a busy machine takes the first.

    `batch`: pictures in one run at most. `runs`: batched runs at the same time.
    """

    intra_op_threads: tuple[int, ...] = (1,)
    batch: int = 1
    runs: int = 1

    def threads(self, cores: int) -> int:
        """The largest number of threads up to `cores`; the smallest there is if all are above."""
        for threads in reversed(self.intra_op_threads):
            if threads <= cores:
                return threads
        return self.intra_op_threads[0]

    def concurrency(self, cores: int) -> int:
        """Pictures in flight at once: one a core, and those that wait for a batched run."""
        return cores if self.batch == 1 else cores + self.batch * self.runs


@dataclass(frozen=True, slots=True)
class RunLimits:
    """Limits set by the operator; 0 keeps the measured value."""

    intra_op_threads: int = 0
    batch: int = 0

    def apply(self, plan: RunPlan, cores: int, *, on_cpu: bool, can_batch: bool) -> RunPlan:
        threads = min(self.intra_op_threads, cores)
        intra_op_threads = plan.intra_op_threads if not threads else (1, threads) if threads > 1 else (1,)
        batch = (self.batch or plan.batch) if can_batch else 1
        runs = plan.runs if batch == plan.batch else cores if on_cpu else DEVICE_RUNS
        return RunPlan(intra_op_threads, batch, runs)


def default_plan(cores: int, *, on_cpu: bool) -> RunPlan:
    """The plan without measuring: all cores or one; batches on a device only."""
    if on_cpu:
        return RunPlan((1, cores) if cores > 1 else (1,))
    return RunPlan((1,), _DEVICE_BATCH, DEVICE_RUNS)
