"""Tensors, and the declared inputs and outputs of graphs."""

from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

Tensor = NDArray[Any]


@dataclass(frozen=True, slots=True)
class TensorInfo:
    """An input or output: `dtype` is NumPy's name, `shape` has None for open dimensions."""

    name: str
    dtype: str
    shape: tuple[int | None, ...]
