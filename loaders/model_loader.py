"""File -> runnable model: the interface, and the factory that knows the implementations.

A new runtime is one class and one line in `_LOADERS`.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from loaders.model_errors import RunStoppedError

Tensor = NDArray[Any]

# The best execution provider that comes up.
AUTO = "auto"

# Execution providers by short name; a runtime's own name will do as well.
PROVIDER_NAMES = ("cpu", "cuda", "tensorrt", "openvino", "coreml", "directml")


@dataclass(frozen=True, slots=True)
class TensorInfo:
    """A graph's input or output: `dtype` in NumPy's words, `shape` with None for each dimension left open."""

    name: str
    dtype: str
    shape: tuple[int | None, ...]


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


def _onnxruntime() -> ModelLoader:
    from loaders.onnxruntime_loader import OnnxRuntimeLoader

    return OnnxRuntimeLoader()


_LOADERS: dict[str, Callable[[], ModelLoader]] = {"onnxruntime": _onnxruntime}


def model_loader_names() -> tuple[str, ...]:
    return tuple(_LOADERS)


def create_model_loader(name: str) -> ModelLoader:
    """The loader of that name. Raises ValueError for a name that is not in `model_loader_names()`."""
    if name not in _LOADERS:
        raise ValueError(f"no model loader {name!r}; there are: {', '.join(_LOADERS)}")
    return _LOADERS[name]()
