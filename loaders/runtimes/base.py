"""Session value types and the base classes of model loaders."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from loaders.model_errors import RunStoppedError
from loaders.tensors import Tensor, TensorInfo

# The best execution provider that comes up.
AUTO = "auto"

# Execution providers by short name; a runtime's own name will do as well.
PROVIDER_NAMES = ("cpu", "cuda", "tensorrt", "openvino", "coreml", "directml")


@dataclass(frozen=True, slots=True)
class SessionOptions:
    """`providers`: execution providers in order of preference, by short name ("cpu", "cuda") or the runtime's own.

    Or ("auto",): the best that comes up. `threads`: cores that one run may use (intra-op threads).
    `cache`: where what was optimised or compiled is kept for the next load; None for nowhere.
    """

    providers: tuple[str, ...] = ("cpu",)
    threads: int = 1
    cache: Path | None = None


class RunStop:
    """Ends runs from another thread, when nobody waits for their answer any more.

    A run that has begun ends after the operator it is at; one that begins later does not begin.
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
        """For a runtime: inside the `with` block, `stop` calls `end`. Raises RunStoppedError if it was called before.

        No lock: `stop` sets the flag before it looks for ends, and this looks at the flag after it has added one.
        """
        self._ends.append(end)
        try:
            self.check()
            yield
        finally:
            self._ends.remove(end)

    def check(self) -> None:
        """Raises RunStoppedError once it was stopped."""
        if self.stopped:
            raise RunStoppedError


class Session(ABC):
    """A loaded model. `run` may be called from many threads at once.

    `providers`: what runs it, in order of preference. `notes`: a sentence for each provider that "auto" did not take.

    `shares_weights`: another session of the same file takes next to no memory of its own for them.
    """

    inputs: tuple[TensorInfo, ...]
    outputs: tuple[TensorInfo, ...]
    providers: tuple[str, ...]
    notes: tuple[str, ...] = ()
    shares_weights = False

    @property
    @abstractmethod
    def on_cpu(self) -> bool:
        """Whether the cores run it, and not a device of its own."""

    @abstractmethod
    def run(self, inputs: Mapping[str, Tensor], stop: RunStop | None = None) -> dict[str, Tensor]:
        """All outputs by name. Raises ModelRunError; RunStoppedError when `stop` was told to."""


class ModelLoader(ABC):
    """Makes sessions. One instance serves the whole process."""

    @property
    @abstractmethod
    def version(self) -> str:
        """The runtime and its version: "onnxruntime 1.31.1"."""

    def on_cores_alone(self, names: Sequence[str]) -> bool:
        """Whether these providers, as SessionOptions has them, can only come to run on the processor's own cores."""
        return set(names) == {"cpu"}

    @abstractmethod
    def load(self, path: Path, options: SessionOptions) -> Session:
        """Raises ModelFileError for a file the runtime refuses, ProviderError when a provider does not come up."""
