"""From a picture to a tensor, as in the framework that trained the model.

The reference is Pillow's antialiased resize, computed for the visible part of the picture only
(`engine.preprocessing.resampling`), or `cv2.resize` for models that were trained with OpenCV. Rescaling, mean, std and
dtype are one table look-up a channel.
"""

import math
from dataclasses import dataclass
from functools import lru_cache, partial

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from engine.preprocessing.geometry import Frame, Placement, Span, input_size, place, visible
from engine.preprocessing.resampling import Floats, Planes, Resampling, plan_resampling
from loaders.images.base import ImageInfo, Picture, Size
from loaders.images.pixels import composite
from loaders.repository.specs.model_spec import Color, Interpolation, PreprocessSpec, Resize, Transparency
from loaders.tensors import Tensor

# Picture sizes whose plans are cached; a plan takes up to some hundred KB.
_CACHED_SIZES = 32

# The side of the picture for the warm-up of a model whose input has the ratio of the picture.
_SQUARE = 1000

# Divisors of the sides in a scaled decode.
_DECODE_SCALES = (1, 2, 4, 8)

# EXIF orientations that move the stored right or bottom border to the left, and to the top.
_FROM_THE_RIGHT, _FROM_BELOW = (2, 3, 6, 7), (3, 4, 7, 8)

# Not antialiased: single pixels of the whole picture count.
_NOT_SCALED = (Interpolation.NEAREST, Interpolation.OPENCV_LINEAR, Interpolation.OPENCV_CUBIC)
_OPENCV = {Interpolation.OPENCV_LINEAR: cv2.INTER_LINEAR, Interpolation.OPENCV_CUBIC: cv2.INTER_CUBIC}

# Pixels of a whole resized picture. Where most of it is cropped away, only the visible part is resized.
_MAX_RESIZED = 50_000_000

# Levels behind transparent pixels.
_BACKGROUNDS = {Transparency.WHITE: 255, Transparency.BLACK: 0}

# A scaled decode gives at least this many times the resized picture: with 2, probabilities of the default model move by
# up to 0.018, with 2.9 by up to 0.004. tests/e2e/test_scaled_decode.py bounds the distance from a full decode.
DECODE_MARGIN = 2.9


@dataclass(frozen=True, slots=True)
class _Plan:
    """The steps for pictures of one size. `resampling` is None for NEAREST and OpenCV's."""

    target: Size
    placement: Placement
    across: Span
    down: Span
    resampling: Resampling | None


class Preprocessor:
    """Prepares pictures for one model. May be used from many threads.

    `spec` needs a layout, a dtype and, unless it is `bounded`, a size; otherwise ValueError is raised. With
    `exact_decode` decoders do not scale, and an antialiased resize equals Pillow's in every bit.
    """

    def __init__(self, spec: PreprocessSpec, *, exact_decode: bool = False) -> None:
        if spec.layout is None or spec.dtype is None or (spec.size is None and spec.resize is not Resize.BOUNDED):
            raise ValueError("the spec lacks size, layout or dtype")
        self.spec = spec
        self.layout, self._dtype = spec.layout, spec.dtype
        self._exact_decode = exact_decode or spec.interpolation in _NOT_SCALED
        self._table = None if spec.rescale_by_max else _value_table(spec, spec.rescale_factor)
        self._frame = lru_cache(_CACHED_SIZES)(partial(_frame, spec))
        self._plan = lru_cache(_CACHED_SIZES)(partial(_plan, spec, exact_decode))

    @property
    def target(self) -> Size:
        """The input's size; that of a square picture if it depends on the picture."""
        return input_size(Size(_SQUARE, _SQUARE), self.spec)

    @property
    def input_shape(self) -> tuple[int, int, int, int]:
        """The shape for one picture of `target` size: (1, C, H, W) or (1, H, W, C)."""
        return self._shape(self.target)

    def frame(self, picture: Size) -> Frame:
        """The position of an upright picture of this original size in the input."""
        return self._frame(picture)

    def decode_size(self, info: ImageInfo) -> Size | None:
        """The smallest size to which a decoder may scale the upright picture; None for a full decode."""
        if self._exact_decode:
            return None
        resized = self._frame(info.size).placement.resized
        return Size(math.ceil(resized.width * DECODE_MARGIN), math.ceil(resized.height * DECODE_MARGIN))

    def __call__(self, picture: Picture) -> Tensor:
        """One picture's tensor (see `input_shape`) in the spec's dtype, layout and channel order."""
        height, width = picture.pixels.shape[:2]
        plan = self._plan(picture.info, height, width)
        return self._normalise(self._fill(plan, self._resize(self._opaque(picture), plan)))

    def _shape(self, size: Size) -> tuple[int, int, int, int]:
        channels = self.spec.channels
        return (
            (1, channels, size.height, size.width) if self.layout == "NCHW" else (1, size.height, size.width, channels)
        )

    def _opaque(self, picture: Picture) -> NDArray[np.uint8]:
        """The picture's pixels on the background of the spec."""
        if picture.alpha is None or self.spec.transparency is Transparency.DROP:
            return picture.pixels
        return composite(picture.pixels, picture.alpha, _BACKGROUNDS[self.spec.transparency])

    def _resize(self, pixels: NDArray[np.uint8], plan: _Plan) -> Planes | Floats:
        """The visible part of the picture as (C, H, W), RGB. The integer parts count."""
        if self.spec.color is Color.GRAY:
            pixels = np.asarray(Image.fromarray(pixels).convert("L"))
        if plan.resampling is not None:
            return plan.resampling(pixels)
        method = _OPENCV.get(self.spec.interpolation)
        resized = _nearest(pixels, plan) if method is None else _by_opencv(pixels, plan, method)
        return np.moveaxis(resized.reshape(*resized.shape[:2], -1), 2, 0)

    def _fill(self, plan: _Plan, resized: Planes | Floats) -> Planes:
        """(C, H, W) of the target's size, in the spec's channel order, padded outside the picture."""
        if self.spec.color is Color.BGR:
            resized = resized[::-1]
        height, width = plan.target.height, plan.target.width
        across, down = plan.across, plan.down
        if resized.shape[1:] == (height, width):
            return np.ascontiguousarray(resized, np.uint8)
        canvas = np.empty((len(resized), height, width), np.uint8)
        canvas[:] = np.reshape(self.spec.pad_value, (-1, 1, 1))
        part = canvas[:, down.start : down.start + down.length, across.start : across.start + across.length]
        np.copyto(part, resized, casting="unsafe")
        return canvas

    def _normalise(self, planes: Planes) -> Tensor:
        """Look up every byte in its channel's table of 256 values, directly into the tensor."""
        channels, height, width = planes.shape
        tensor = np.empty(self._shape(Size(width, height)), self._dtype)
        tables = self._table if self._table is not None else _value_table(self.spec, 1 / max(1, int(planes.max())))
        if self.layout == "NCHW" or channels == 1:
            for target, plane, table in zip(tensor.reshape(planes.shape), planes, tables, strict=True):
                _look_up(plane, table, target)
        else:
            _look_up(cv2.merge(list(planes)), np.ascontiguousarray(tables.T)[np.newaxis], tensor[0])
        return tensor


def _frame(spec: PreprocessSpec, picture: Size) -> Frame:
    target = input_size(picture, spec)
    return Frame(picture, place(picture, spec, target), target)


def _plan(spec: PreprocessSpec, exact: bool, info: ImageInfo, height: int, width: int) -> _Plan:
    """The plan for pictures that were decoded to `height` rows of `width` pixels."""
    (filled_width, left), (filled_height, top) = _filled(info, height, width)
    frame = _frame(spec, info.size)
    placement, target = frame.placement, frame.target
    across = visible(placement.left, placement.resized.width, target.width, filled_width, left)
    down = visible(placement.top, placement.resized.height, target.height, filled_height, top)
    if spec.interpolation in _NOT_SCALED:
        return _Plan(target, placement, across, down, None)
    resampling = plan_resampling(across, down, (height, width), spec.interpolation, exact=exact)
    return _Plan(target, placement, across, down, resampling)


def _nearest(pixels: NDArray[np.uint8], plan: _Plan) -> NDArray[np.uint8]:
    """Pillow's resize of the rows that it reads."""
    across, down = plan.across, plan.down
    first, last = max(0, math.floor(down.source_start) - 1), min(len(pixels), math.ceil(down.source_stop) + 1)
    box = (across.source_start, down.source_start - first, across.source_stop, down.source_stop - first)
    image = Image.fromarray(pixels[first:last])
    return np.asarray(image.resize((across.length, down.length), Image.Resampling.NEAREST, box=box))


def _by_opencv(pixels: NDArray[np.uint8], plan: _Plan, method: int) -> NDArray[np.uint8]:
    """The visible part of what `cv2.resize` makes of the whole picture."""
    across, down, resized = plan.across, plan.down, plan.placement.resized
    if resized.pixels > _MAX_RESIZED:
        rows = slice(math.floor(down.source_start), math.ceil(down.source_stop))
        columns = slice(math.floor(across.source_start), math.ceil(across.source_stop))
        return _cv2_resize(pixels[rows, columns], Size(across.length, down.length), method)
    top, left = max(0, -plan.placement.top), max(0, -plan.placement.left)
    return _cv2_resize(pixels, resized, method)[top : top + down.length, left : left + across.length]


def _cv2_resize(pixels: NDArray[np.uint8], size: Size, method: int) -> NDArray[np.uint8]:
    if pixels.shape[1::-1] == (size.width, size.height):
        return pixels
    return cv2.resize(pixels, (size.width, size.height), interpolation=method)  # type: ignore[return-value]  # no dtype


def _look_up(pixels: NDArray[np.uint8], table: Tensor, target: Tensor) -> None:
    """OpenCV is two to three times as fast as NumPy here. It gets float16 as uint16."""
    if table.dtype == np.float16:
        table, target = table.view(np.uint16), target.view(np.uint16)
    cv2.LUT(pixels, table, dst=target)


def _value_table(spec: PreprocessSpec, rescale_factor: float) -> Tensor:
    """The value of each byte as (C, 256), computed in double precision and rounded once."""
    values = np.arange(256, dtype=np.float64) * rescale_factor
    mean, std = (np.resize(np.asarray(v, np.float64), spec.channels)[:, None] for v in (spec.mean, spec.std))
    normalised = (values - mean) / std
    if spec.dtype == "uint8":
        normalised = np.clip(np.rint(normalised), 0, 255)
    return normalised.astype(spec.dtype)


def _filled(info: ImageInfo, height: int, width: int) -> tuple[tuple[float, float], tuple[float, float]]:
    """Across and down: how many decoded pixels the picture fills, and its offset in them.

    A decoder rounds the sides up: 953 rows at 1/4 are 238.25, in 239 decoded rows. The unfilled part is at the right
    and the bottom of the stored picture: by some EXIF orientations at the left or the top of the upright one.
    """
    for scale in _DECODE_SCALES:
        if (math.ceil(info.width / scale), math.ceil(info.height / scale)) == (width, height):
            across, down = info.width / scale, info.height / scale
            left = width - across if info.orientation in _FROM_THE_RIGHT else 0.0
            top = height - down if info.orientation in _FROM_BELOW else 0.0
            return (across, left), (down, top)
    return (width, 0.0), (height, 0.0)
