"""Picture -> tensor, as the framework did it that the model was trained in.

The reference is Pillow's antialiased resize, so Pillow does the resize; only the part of the picture that ends up in
the tensor is computed. Rescaling, mean, std and the number format are one table look-up a channel.
"""

import math

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from engine.geometry import Frame, Span, bounded, place, visible
from loaders.image_loader import ImageInfo, Picture, Size
from loaders.model_loader import Tensor
from loaders.model_spec import Color, Interpolation, PreprocessSpec, Resize

_RESAMPLING = {
    Interpolation.NEAREST: Image.Resampling.NEAREST,
    Interpolation.BILINEAR: Image.Resampling.BILINEAR,
    Interpolation.BICUBIC: Image.Resampling.BICUBIC,
    Interpolation.LANCZOS: Image.Resampling.LANCZOS,
}

# How far Pillow's filters reach, in pixels of the source or of the result, whichever are larger.
_REACH = {Interpolation.BILINEAR: 1, Interpolation.BICUBIC: 2, Interpolation.LANCZOS: 3}

# The side of the picture that warms up a model whose input takes the picture's own ratio.
_SQUARE = 1000

# By what a decoder may divide the sides.
_DECODE_SCALES = (1, 2, 4, 8)

# The EXIF orientations that turn the stored right border to the left, or the bottom one; and those to the top.
_FROM_THE_RIGHT, _FROM_BELOW = (2, 3, 6, 7), (3, 4, 7, 8)

# A decoder that scales must leave this many times the resized picture, so that the antialiased resize still decides
# how the result looks. tests/engine/test_preprocessing.py states the distance from a full decode.
DECODE_MARGIN = 2


class Preprocessor:
    """Prepares pictures for one model. One instance serves many threads at once.

    `spec` must be complete: size (but with `bounded`), layout and dtype are known.
    """

    def __init__(self, spec: PreprocessSpec, *, exact_decode: bool = False) -> None:
        if spec.layout is None or spec.dtype is None or (spec.size is None and spec.resize is not Resize.BOUNDED):
            raise ValueError("the spec lacks size, layout or dtype")
        self.spec = spec
        self._layout, self._dtype = spec.layout, spec.dtype
        self._exact_decode = exact_decode
        self._table = None if spec.rescale_by_max else _value_table(spec, spec.rescale_factor)

    @property
    def target(self) -> Size:
        """The input's size; with `bounded` that of a square picture."""
        if self.spec.size is None:
            return bounded(Size(_SQUARE, _SQUARE), self.spec)
        return Size(width=self.spec.size[1], height=self.spec.size[0])

    @property
    def input_shape(self) -> tuple[int, int, int, int]:
        """Of one picture in an input of `target` size: (1, C, H, W) or (1, H, W, C)."""
        return self._shape(self.target)

    def frame(self, picture: Size) -> Frame:
        """Where an upright picture of that original size comes to lie in the input."""
        target = bounded(picture, self.spec) if self.spec.size is None else self.target
        return Frame(picture, place(picture, self.spec, target), target)

    def decode_size(self, info: ImageInfo) -> Size | None:
        """The least size the decoder may scale the upright picture down to; None for a full decode."""
        if self._exact_decode or self.spec.interpolation is Interpolation.NEAREST:  # which shows every single pixel
            return None
        resized = self.frame(info.size).placement.resized
        return Size(resized.width * DECODE_MARGIN, resized.height * DECODE_MARGIN)

    def __call__(self, picture: Picture) -> Tensor:
        """One picture's tensor (see `input_shape`) in the spec's dtype, layout and channel order."""
        return self._normalise(self._resize(picture, self.frame(picture.info.size)))

    def _shape(self, size: Size) -> tuple[int, int, int, int]:
        channels = self.spec.channels
        return (
            (1, channels, size.height, size.width) if self._layout == "NCHW" else (1, size.height, size.width, channels)
        )

    def _resize(self, picture: Picture, frame: Frame) -> NDArray[np.uint8]:
        """(H, W) or (H, W, 3) uint8 of the target's size, padded where the picture does not reach."""
        (width, left), (height, top) = _filled(picture)
        placement, target = frame.placement, frame.target
        across = visible(placement.left, placement.resized.width, target.width, width, left)
        down = visible(placement.top, placement.resized.height, target.height, height, top)
        resized = self._resample(picture.pixels, across, down)
        if resized.shape[:2] == (target.height, target.width):
            return resized
        canvas = np.full((target.height, target.width, *resized.shape[2:]), self.spec.pad_value, np.uint8)
        canvas[down.start : down.start + down.length, across.start : across.start + across.length] = resized
        return canvas

    def _resample(self, pixels: NDArray[np.uint8], across: Span, down: Span) -> NDArray[np.uint8]:
        """Across first, then down, always, since the rounding between the two shows.

        Pillow did so by itself before version 13; now it chooses by the sizes: for a crop otherwise than for the whole.
        """
        resampling = _RESAMPLING[self.spec.interpolation]
        first, last = _rows(down, len(pixels), self.spec.interpolation)
        image = Image.fromarray(pixels[first:last])
        if self.spec.color is Color.GRAY:
            image = image.convert("L")
        left, top, right, bottom = (
            across.source_start,
            down.source_start - first,
            across.source_stop,
            down.source_stop - first,
        )
        if self.spec.interpolation is not Interpolation.NEAREST:
            image = image.resize((across.length, image.height), resampling, box=(left, 0, right, image.height))
            left, right = 0, across.length
        return np.asarray(image.resize((across.length, down.length), resampling, box=(left, top, right, bottom)))

    def _normalise(self, pixels: NDArray[np.uint8]) -> Tensor:
        """Looks every byte up in its channel's table of 256 results, straight into its place in the tensor."""
        tensor = np.empty(self._shape(Size(width=pixels.shape[1], height=pixels.shape[0])), self._dtype)
        tables = self._table if self._table is not None else _value_table(self.spec, 1 / max(1, int(pixels.max())))
        planes = tensor[0] if self._layout == "NCHW" else np.moveaxis(tensor[0], 2, 0)
        channels = [pixels] if pixels.ndim == 2 else [pixels[..., c] for c in range(3)]
        if self.spec.color is Color.BGR:
            channels.reverse()
        for plane, channel, table in zip(planes, channels, tables, strict=True):
            np.take(table, channel, out=plane, mode="clip")
        return tensor


def _value_table(spec: PreprocessSpec, rescale_factor: float) -> Tensor:
    """(C, 256): what each byte becomes, computed in double precision and rounded once."""
    values = np.arange(256, dtype=np.float64) * rescale_factor
    mean, std = (np.resize(np.asarray(v, np.float64), spec.channels)[:, None] for v in (spec.mean, spec.std))
    normalised = (values - mean) / std
    if spec.dtype == "uint8":
        normalised = np.clip(np.rint(normalised), 0, 255)
    return normalised.astype(spec.dtype)


def _filled(picture: Picture) -> tuple[tuple[float, float], tuple[float, float]]:
    """Across and down: how many of the decoded pixels the picture fills, and after how many it begins.

    A decoder rounds the sides up: 953 rows at 1/4 are 238.25 rows, in 239. What the last one lacks lies at the right
    and at the bottom of the stored picture, and so to the left or at the top of some that were turned.
    """
    info, (height, width) = picture.info, picture.pixels.shape[:2]
    for scale in _DECODE_SCALES:
        if (math.ceil(info.width / scale), math.ceil(info.height / scale)) == (width, height):
            across, down = info.width / scale, info.height / scale
            left = width - across if info.orientation in _FROM_THE_RIGHT else 0.0
            top = height - down if info.orientation in _FROM_BELOW else 0.0
            return (across, left), (down, top)
    return (width, 0.0), (height, 0.0)


def _rows(down: Span, height: int, interpolation: Interpolation) -> tuple[int, int]:
    """The first and last (exclusive) of `height` rows that a resize to `down` looks at, and a few more."""
    per_row = max(1.0, (down.source_stop - down.source_start) / down.length)
    reach = math.ceil(_REACH.get(interpolation, 0) * per_row) + 1
    return max(0, math.floor(down.source_start) - reach), min(height, math.ceil(down.source_stop) + reach)
