"""File -> runnable model: the interface, and the factory that knows the implementations.

A new runtime is one class and one line in `_LOADERS`.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

Tensor = NDArray[Any]

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

    `threads`: cores that one run may use (intra-op threads).
    """

    providers: tuple[str, ...] = ("cpu",)
    threads: int = 1


class Session(ABC):
    """A loaded model. `run` may be called from many threads at once."""

    inputs: tuple[TensorInfo, ...]
    outputs: tuple[TensorInfo, ...]
    providers: tuple[str, ...]

    @abstractmethod
    def run(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """All outputs by name. Raises ModelRunError."""


class ModelLoader(ABC):
    """Makes sessions. One instance serves the whole process."""

    @property
    @abstractmethod
    def version(self) -> str:
        """The runtime and its version: "onnxruntime 1.31.1"."""

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
