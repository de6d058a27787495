"""What the engine is told by its owner."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from engine.models.check import ModelCheck
from engine.models.model_manager import ModelManagerOptions
from engine.models.runtime_choice import RuntimeChooser
from engine.pipeline import Answer, TensorAnswer
from engine.scheduling.run_plan import RunLimits, TuneLevel
from engine.scheduling.scoreboard import WorkerSlot


class Observer(Protocol):
    """Is told of events, for metrics and traces."""

    def answered(self, answers: Sequence[Answer | TensorAnswer]) -> None:
        """One picture or tensor was answered; called on the event loop."""

    def loaded(self, name: str, seconds: float, *, ok: bool) -> None:
        """A load has ended; called on a loading thread."""

    def ran(self, name: str, pictures: int) -> None:
        """A model that runs several pictures together has run on so many; called on the thread of the run."""


@dataclass(frozen=True, slots=True)
class EngineOptions:
    """`cores`: shared by all runs, 0: the CPU budget. `concurrency`: pictures worked on at once by all worker
    processes, 0: one a core. `worker_slot`: the claimed slot of this process, None if it is the only worker.

    `queue_limit`: waiting requests of each model, of this process. `timeout_s`: from a picture's arrival to its answer.
    `check` tries each model in a separate process before it is loaded; None skips that. `choose_runtime`: None runs all
    models with the given loader. `cache`: the cache folder. `font`: of drawn pictures, None for the shipped one.
    """

    models: ModelManagerOptions
    providers: tuple[str, ...] = ("cpu",)
    cores: int = 0
    concurrency: int = 0
    worker_slot: WorkerSlot | None = None
    tune: TuneLevel = TuneLevel.OFF
    run_limits: RunLimits = field(default_factory=RunLimits)
    queue_limit: int = 64
    timeout_s: float = 30.0
    exact_decode: bool = False
    check: ModelCheck | None = None
    choose_runtime: RuntimeChooser | None = None
    cache: Path | None = None
    font: Path | None = None
    observers: tuple[Observer, ...] = ()
