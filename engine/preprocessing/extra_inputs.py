"""Further inputs of some graphs: the scale or size of the picture, or a mask of its padding."""

from collections.abc import Callable

import numpy as np

from engine.preprocessing.geometry import Frame
from loaders.repository.specs.model_spec import ExtraInput
from loaders.tensors import Tensor


def extra_tensor(kind: ExtraInput, frame: Frame, dtype: str) -> Tensor:
    """(1, 2) numbers, height before width, or a mask (1, H, W) of the input's size; in the given dtype."""
    return _MAKERS[kind](frame).astype(dtype)


def _scale(frame: Frame) -> Tensor:
    resized, picture = frame.placement.resized, frame.picture
    return np.array([[resized.height / picture.height, resized.width / picture.width]])


def _input_size(frame: Frame) -> Tensor:
    return np.array([[frame.target.height, frame.target.width]])


def _original_size(frame: Frame) -> Tensor:
    return np.array([[frame.picture.height, frame.picture.width]])


def _mask(frame: Frame) -> Tensor:
    """1 inside the picture, 0 in its padding."""
    mask = np.zeros((1, frame.target.height, frame.target.width))
    left, top, size = frame.placement.left, frame.placement.top, frame.placement.resized
    mask[:, max(0, top) : top + size.height, max(0, left) : left + size.width] = 1
    return mask


_MAKERS: dict[ExtraInput, Callable[[Frame], Tensor]] = {
    ExtraInput.SCALE: _scale,
    ExtraInput.INPUT_SIZE: _input_size,
    ExtraInput.ORIGINAL_SIZE: _original_size,
    ExtraInput.MASK: _mask,
}
