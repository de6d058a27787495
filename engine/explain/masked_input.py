"""A picture in a model's input, parts of which are replaced by its blurred version."""

import cv2
import numpy as np
from PIL import Image

from engine.explain.heat_map import HeatMap
from engine.preprocessing.geometry import Frame, visible
from engine.tasks.masks import Region, computed_size, resample, visible_region
from engine.tasks.outputs import Array
from loaders.repository.specs.model_spec import Layout
from loaders.tensors import Tensor

# The sigma of the blur, as a part of the picture's shorter side in the input.
BLUR = 0.1

# Masks are computed with at most this many pixels, and enlarged to the input.
_MAX_MASK_PIXELS = 2**16


class MaskedInput:
    """`size`: that of the masks. They cover the picture in the input, and not its padding."""

    def __init__(self, tensor: Tensor, frame: Frame, layout: Layout) -> None:
        self._tensor, self._frame = tensor, frame
        self._axes = (0, 1) if layout == "NHWC" else (1, 2)
        place, target = frame.placement, frame.target
        across = visible(place.left, place.resized.width, target.width, frame.picture.width)
        down = visible(place.top, place.resized.height, target.height, frame.picture.height)
        self._part = Region(across.start, down.start, across.start + across.length, down.start + down.length)
        self.size = computed_size(self._part, _MAX_MASK_PIXELS)
        shown = self._picture_in(tensor).astype(np.float32)
        self._blurred = _blurred(shown)
        self._difference = shown - self._blurred

    def masked(self, mask: Array) -> Tensor:
        """The input's tensor, blurred where the mask is 0."""
        resized = cv2.resize(mask, (self._part.size.width, self._part.size.height), interpolation=cv2.INTER_LINEAR)
        pixels = self._blurred + self._difference * resized[..., np.newaxis]
        tensor = self._tensor.copy()
        if tensor.dtype == np.uint8:
            pixels = np.rint(pixels).clip(0, 255)
        self._picture_in(tensor)[:] = pixels
        return tensor

    def heat_map(self, values: Array) -> HeatMap:
        """A map of the masks' size, carried back to the picture."""
        part, target = self._part, self._frame.target
        plane = np.zeros((target.height, target.width), np.float32)
        resized = cv2.resize(values, (part.size.width, part.size.height), interpolation=cv2.INTER_LINEAR)
        plane[part.top : part.bottom, part.left : part.right] = resized
        region = visible_region(self._frame)
        of_region = resample(plane, self._frame, region, computed_size(region), Image.Resampling.BILINEAR)
        return HeatMap(of_region, region, self._frame.picture)

    def _picture_in(self, tensor: Tensor) -> Tensor:
        """A view of the picture's part of a tensor, (h, w, C)."""
        pixels: Tensor = np.moveaxis(tensor[0], self._axes, (0, 1))
        return pixels[self._part.top : self._part.bottom, self._part.left : self._part.right]


def _blurred(pixels: Array) -> Array:
    sigma = max(1.0, BLUR * min(pixels.shape[:2]))
    blurred = cv2.GaussianBlur(np.ascontiguousarray(pixels), (0, 0), sigma, borderType=cv2.BORDER_REFLECT)
    return np.asarray(blurred, np.float32).reshape(pixels.shape)
