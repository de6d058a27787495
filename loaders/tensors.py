"""Tensors and what a graph declares about its inputs and outputs."""

from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

Tensor = NDArray[Any]


@dataclass(frozen=True, slots=True)
class TensorInfo:
    """A graph's input or output: `dtype` in NumPy's words, `shape` with None for each dimension left open."""

    name: str
    dtype: str
    shape: tuple[int | None, ...]
