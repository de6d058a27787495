"""How a model runs on this machine: how wide, how many pictures in one run, how many runs at once."""

from dataclasses import dataclass
from enum import StrEnum

# What a device that computes many pictures as fast as one is given where nothing was measured.
_DEVICE_BATCH = 8
DEVICE_RUNS = 2  # while one computes, the other's tensors travel

_MOST_PICTURES = 1024  # of one run


class TuneLevel(StrEnum):
    """How much time measuring may take when a model is loaded for the first time."""

    OFF = "off"
    QUICK = "quick"
    FULL = "full"


@dataclass(frozen=True, slots=True)
class RunPlan:
    """`intra_op_threads`: numbers of threads that one run may use, ascending; a busy machine takes the first.

    `batch`: largest batch of one run. `runs`: batched runs at the same time.
    """

    intra_op_threads: tuple[int, ...] = (1,)
    batch: int = 1
    runs: int = 1

    def threads(self, cores: int) -> int:
        """The widest that uses no more than `cores`; the narrowest where none does."""
        return max((threads for threads in self.intra_op_threads if threads <= cores), default=self.intra_op_threads[0])

    def suits(self, cores: int) -> bool:
        """Whether it makes sense here: it may come from a file."""
        ascending = list(self.intra_op_threads) == sorted(set(self.intra_op_threads)) and self.intra_op_threads[:1] == (
            1,
        )
        return (
            ascending
            and self.intra_op_threads[-1] <= cores
            and 1 <= self.batch <= _MOST_PICTURES
            and 1 <= self.runs <= max(cores, DEVICE_RUNS)
        )

    def lanes(self, cores: int) -> int:
        """Pictures under way at once: a core each, and besides those that wait in a batched run."""
        return cores if self.batch == 1 else cores + self.batch * self.runs


@dataclass(frozen=True, slots=True)
class RunLimits:
    """What the operator fixes: 0 leaves it to what was measured. `wait_s`: how long a batch may wait to fill."""

    threads: int = 0
    batch: int = 0
    wait_s: float = 0.0

    def apply(self, plan: RunPlan, cores: int, *, on_cpu: bool, can_batch: bool) -> RunPlan:
        threads = min(self.threads, cores)
        intra_op_threads = plan.intra_op_threads if not threads else (1, threads) if threads > 1 else (1,)
        batch = (self.batch or plan.batch) if can_batch else 1
        return RunPlan(
            intra_op_threads, batch, plan.runs if batch == plan.batch else runs_at_once(cores, on_cpu=on_cpu)
        )


def runs_at_once(cores: int, *, on_cpu: bool) -> int:
    """Batched runs: one a core, or as many as keep a device busy."""
    return cores if on_cpu else DEVICE_RUNS


def default_plan(cores: int, *, on_cpu: bool) -> RunPlan:
    """What is likely best where nothing was measured: all cores or one; batches on a device only."""
    if on_cpu:
        return RunPlan((1, cores) if cores > 1 else (1,))
    return RunPlan((1,), _DEVICE_BATCH, DEVICE_RUNS)
