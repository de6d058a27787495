"""Helpers of all tasks: select outputs, check labels and values, encode numbers."""

import base64
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from engine.tasks.task import InvalidOutputError
from loaders.model_errors import ModelSpecError
from loaders.runtimes.base import Session
from loaders.tensors import Tensor, TensorInfo

Array = NDArray[np.float32]


def find_output(session: Session, names: Sequence[str]) -> TensorInfo:
    """The output called by the first of `names`, or the first one without names. Raises ModelSpecError."""
    by_name = {output.name: output for output in session.outputs}
    if names and names[0] not in by_name:
        raise ModelSpecError(f"the graph has no output {names[0]!r}; it has: {', '.join(by_name)}")
    return by_name[names[0]] if names else session.outputs[0]


def find_outputs(session: Session, names: Sequence[str], ranks: Sequence[int]) -> list[TensorInfo]:
    """The outputs called `names`, or the first ones without names: one for each of `ranks`, which include the batch.

    Raises ModelSpecError if there are too few outputs or one has another rank.
    """
    by_name = {output.name: output for output in session.outputs}
    for missing in (name for name in names if name not in by_name):
        raise ModelSpecError(f"the graph has no output {missing!r}; it has: {', '.join(by_name)}")
    found = [by_name[name] for name in names] or list(session.outputs)
    if len(found) < len(ranks):
        named = f"outputs in the spec names {', '.join(names)}; " if names else ""
        raise ModelSpecError(f"{len(ranks)} outputs are needed; {named}the graph has {', '.join(by_name)}")
    for output, rank in zip(found, ranks, strict=False):
        if output.shape and len(output.shape) != rank:
            raise ModelSpecError(f"the output {output.name} has {len(output.shape)} dimensions, {rank} are needed")
    return found[: len(ranks)]


def is_plane(shape: Sequence[int | None]) -> bool:
    """Whether an output has one value a pixel: (N, h, w) or (N, 1, h, w)."""
    return len(shape) == 3 or (len(shape) == 4 and shape[1] in (1, None))


def check_labels(labels: Sequence[str], classes: int | None) -> None:
    """`classes`: None if their number is dynamic. Raises ModelSpecError."""
    if labels and classes is not None and len(labels) != classes:
        raise ModelSpecError(f"{len(labels)} labels, but the graph has {classes} classes")


def read_outputs(outputs: Mapping[str, Tensor], names: Sequence[str], ranks: Sequence[int]) -> list[Array]:
    """The outputs that `find_outputs` selects, as float32. Raises InvalidOutputError, also for NaN and infinity."""
    tensors = [outputs[name] for name in names] if names else list(outputs.values())
    found = [as_float32(tensor) for tensor in tensors[: len(ranks)]]
    for array, rank in zip(found, ranks, strict=True):
        if array.ndim != rank:
            raise InvalidOutputError(f"the model's output has {array.ndim} dimensions, {rank} are needed")
        check_finite(array)
    return found


def as_float32(tensor: Tensor) -> Array:
    """Values beyond float32 become infinite, which `check_finite` rejects."""
    if tensor.dtype == np.float32:
        return tensor
    with np.errstate(over="ignore"):
        return tensor.astype(np.float32)


def check_finite(*arrays: Tensor) -> None:
    """JSON has no NaN and no infinity. Raises InvalidOutputError."""
    for array in arrays:
        if not np.isfinite(array).all():
            raise InvalidOutputError("the model's outputs are not finite numbers: NaN or infinity is among them")


def shortest(value: np.float32) -> float:
    """The shortest decimal that identifies this float32: 0.8331, not 0.8331000208854675."""
    return float(str(value))


def to_base64(array: Tensor) -> str:
    """Base64 of the little-endian bytes in C order."""
    return base64.b64encode(array.astype(array.dtype.newbyteorder("<"), copy=False).tobytes()).decode("ascii")
