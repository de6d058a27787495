"""How a model runs on this machine: how wide, how many pictures in one run, how many runs at once."""

from dataclasses import dataclass
from enum import StrEnum

# What a device that computes many pictures as fast as one is given where nothing was measured.
_DEVICE_BATCH = 8
DEVICE_RUNS = 2  # while one computes, the other's tensors travel


class TuneLevel(StrEnum):
    """How much time measuring may take when a model is loaded for the first time."""

    OFF = "off"
    QUICK = "quick"
    FULL = "full"


@dataclass(frozen=True, slots=True)
class RunPlan:
    """`widths`: numbers of cores (intra-op threads) that one run may use, ascending; the first is for a busy machine.

    `batch`: most pictures of one run. `runs`: batched runs at once; without batching every lane runs by itself.
    """

    widths: tuple[int, ...] = (1,)
    batch: int = 1
    runs: int = 1

    def width(self, cores: int) -> int:
        """The widest that uses no more than `cores`; the narrowest where none does."""
        return max((width for width in self.widths if width <= cores), default=self.widths[0])

    def suits(self, cores: int) -> bool:
        """Whether it makes sense here: it may come from a file."""
        return (
            bool(self.widths) and all(1 <= width <= cores for width in self.widths) and min(self.batch, self.runs) >= 1
        )

    def lanes(self, cores: int) -> int:
        """Pictures under way at once: a core each, and besides those that wait in a batched run."""
        return cores if self.batch == 1 else cores + self.batch * self.runs


@dataclass(frozen=True, slots=True)
class RunLimits:
    """What the operator fixes: 0 leaves it to what was measured. `wait_s`: how long a batch may wait to fill."""

    width: int = 0
    batch: int = 0
    wait_s: float = 0.0

    def apply(self, plan: RunPlan, *, can_batch: bool) -> RunPlan:
        widths = plan.widths
        if self.width:
            widths = (1, self.width) if self.width > 1 else (1,)
        batch = (self.batch or plan.batch) if can_batch else 1
        return RunPlan(widths, batch, plan.runs)


def default_plan(cores: int, *, on_cpu: bool, can_batch: bool) -> RunPlan:
    """What is likely best where nothing was measured: all cores or one; batches on a device only."""
    if on_cpu:
        return RunPlan((1, cores) if cores > 1 else (1,))
    return RunPlan((1,), _DEVICE_BATCH if can_batch else 1, DEVICE_RUNS)
