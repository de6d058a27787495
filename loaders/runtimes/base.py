"""Session value types and the base classes of model loaders."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from loaders.model_errors import RunStoppedError
from loaders.tensors import Tensor, TensorInfo

# Stands for the best execution provider that comes up.
AUTO = "auto"

# Short names of execution providers; a runtime's own names are valid, too.
PROVIDER_NAMES = ("cpu", "cuda", "tensorrt", "openvino", "coreml", "directml")


class Precision(StrEnum):
    """The arithmetic of a run: that of the graph, bfloat16 in place of float32, or that of the graph's 8-bit twin."""

    EXACT = "exact"
    BF16 = "bf16"
    INT8 = "int8"


@dataclass(frozen=True, slots=True)
class SessionOptions:
    """`providers`: execution providers in order of preference, or ("auto",) for the best that comes up.

    `threads`: intra-op threads of one run. `cache`: folder for optimised and compiled graphs; None disables it.
    `shapes`: of inputs for one picture, by name: the sides that the graph leaves open. `precision`: only OpenVINO has
    bf16; int8 says that the file is the model's twin.
    """

    providers: tuple[str, ...] = ("cpu",)
    threads: int = 1
    cache: Path | None = None
    shapes: Mapping[str, Sequence[int]] = field(default_factory=dict)
    precision: Precision = Precision.EXACT


class RunStop:
    """Stops runs from another thread, such as those of cancelled requests.

    A run stops after its current operator; later runs do not start.
    """

    __slots__ = ("_ends", "stopped")

    def __init__(self) -> None:
        self.stopped = False
        self._ends: list[Callable[[], None]] = []

    def stop(self) -> None:
        self.stopped = True
        for end in tuple(self._ends):
            end()

    @contextmanager
    def calls(self, end: Callable[[], None]) -> Iterator[None]:
        """For runtimes: `stop` calls `end` during the `with` block. Raises RunStoppedError if already stopped.

        Lock-free: `stop` sets the flag before it reads the list, and this reads the flag after adding to the list.
        """
        self._ends.append(end)
        try:
            self.check()
            yield
        finally:
            self._ends.remove(end)

    def check(self) -> None:
        """Raises RunStoppedError if stopped."""
        if self.stopped:
            raise RunStoppedError


class Session(ABC):
    """A loaded model. `run` is thread-safe.

    `providers`: those in use, in order of preference. `notes`: sentences for the operator, such as why a provider that
    "auto" tried is not in use. `private_bytes`: memory for weights that a further session of the file takes.
    `has_room_for_all_runs`: each core can have a run of its own in this session, so that further sessions gain nothing.
    `grows_with_shapes`: each new shape of an input takes memory for good.
    """

    inputs: tuple[TensorInfo, ...]
    outputs: tuple[TensorInfo, ...]
    providers: tuple[str, ...]
    notes: tuple[str, ...] = ()
    private_bytes = 0
    has_room_for_all_runs = False
    grows_with_shapes = False

    @property
    @abstractmethod
    def on_cpu(self) -> bool:
        """Whether it runs on the processor's cores and not on an accelerator."""

    @abstractmethod
    def run(self, inputs: Mapping[str, Tensor], stop: RunStop | None = None) -> dict[str, Tensor]:
        """Returns all outputs by name. Raises ModelRunError, and RunStoppedError after `stop.stop()`."""


class ModelLoader(ABC):
    """Loads models. One instance serves the whole process."""

    @property
    @abstractmethod
    def version(self) -> str:
        """Name and version of the runtime: "onnxruntime 1.31.1"."""

    def on_cores_alone(self, names: Sequence[str]) -> bool:
        """Whether these providers (as in SessionOptions) can only run on the processor's cores."""
        return set(names) == {"cpu"}

    @abstractmethod
    def load(self, path: Path, options: SessionOptions) -> Session:
        """Raises ModelFileError if the runtime rejects the file, ProviderError if a provider does not come up."""
