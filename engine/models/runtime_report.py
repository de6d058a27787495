"""Which runtime and precision a model runs with, and the comparisons that decided."""

from dataclasses import dataclass

from engine.scheduling.tuning import Speed
from loaders.runtimes.base import Precision


@dataclass(frozen=True, slots=True)
class Comparison:
    """Another runtime beside the reference. `difference`: the largest of its answers from the reference's.

    `rejected`: why it is not used; empty if it may be. It is compared again at the next load unless `conclusive`.
    """

    runtime: str
    precision: Precision
    difference: float | None = None
    speed: Speed | None = None
    reference_speed: Speed | None = None
    rejected: str = ""
    conclusive: bool = True


@dataclass(frozen=True, slots=True)
class RuntimeChoice:
    """`runtime`: its name in API_MODEL_LOADER. `tolerance`: how far its answers may be from the reference's.

    `compared`: the other runtimes that were tried.
    """

    runtime: str
    precision: Precision = Precision.EXACT
    reason: str = "no other was tried"
    tolerance: float = 0.0
    compared: tuple[Comparison, ...] = ()
