"""Pillow's antialiased resize, as products of small matrices.

Each line of the result is a weighted sum of a few neighbouring lines of the source. Some lines of the result at once
are one product, of a small band of weights with the lines they look at: twice as fast as Pillow, which adds number by
number. Weights, order (across, then down) and the rounding between the two are Pillow's. With float64 so is every bit
of the result. With float32, which is faster, a sum next to the border between two levels may fall to the other side:
1 of 50,000 values of a photo, and 1 of 100 where simple ratios put many sums exactly there.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from engine.geometry import Span
from loaders.model_spec import Interpolation

Planes = NDArray[np.uint8]
_Doubles = NDArray[np.float64]
Floats = NDArray[np.float32 | np.float64]
_Dtype = type[np.float32 | np.float64]
_Weights = tuple[NDArray[np.int64], _Doubles]

# Pillow rounds its weights to whole multiples of 1 / _WEIGHT_STEPS.
_WEIGHT_STEPS = float(1 << 22)

# Multiplications in one product. From 262,144 on OpenBLAS hands a product to threads of its own, which wait by
# spinning: more work for the processor, and up to 20 times slower where its cores have other work.
_MOST_IN_PRODUCT = 250_000

# Lines of the result in one product: more are less calls, but more zeros among the weights.
_BLOCKS = (16, 8, 4, 2, 1)
_USUAL_ROWS = 512

# Numbers of one colour that are widened to floats at once.
_MOST_IN_BAND = 1 << 19


def _bilinear(x: _Doubles) -> _Doubles:
    return np.maximum(1.0 - x, 0.0)


def _bicubic(x: _Doubles) -> _Doubles:
    near = (1.5 * x - 2.5) * x * x + 1.0
    far = (((x - 5.0) * x + 8.0) * x - 4.0) * -0.5
    return np.where(x < 1.0, near, np.where(x < 2.0, far, 0.0))


def _lanczos(x: _Doubles) -> _Doubles:
    return np.where(x < 3.0, np.sinc(x) * np.sinc(x / 3.0), 0.0)


# How far each filter reaches, in pixels of the source or of the result, whichever are larger; its value at |x|.
_FILTERS: dict[Interpolation, tuple[float, Callable[[_Doubles], _Doubles]]] = {
    Interpolation.BILINEAR: (1.0, _bilinear),
    Interpolation.BICUBIC: (2.0, _bicubic),
    Interpolation.LANCZOS: (3.0, _lanczos),
}


class Block(NamedTuple):
    """Neighbouring lines of the result: which they are, `weights` of (lines, source lines), the source's lines."""

    lines: slice
    weights: Floats
    source: slice


class Band(NamedTuple):
    """Blocks that are computed from one piece of the source; their `source` counts from `first`."""

    first: int
    last: int
    blocks: tuple[Block, ...]


@dataclass(frozen=True, slots=True)
class Resampling:
    """A resize of part of a picture, worked out once for all pictures of that size."""

    height: int
    width: int
    dtype: _Dtype
    across: Band
    down: tuple[Band, ...]

    def __call__(self, pixels: NDArray[np.uint8]) -> Floats:
        """(C, height, width) from (H, W) or (H, W, C). 0 to 255; the whole part of each is Pillow's value."""
        channels = 1 if pixels.ndim == 2 else pixels.shape[2]
        result = np.empty((channels, self.height, self.width), self.dtype)
        columns = slice(self.across.first, self.across.last)
        for band in self.down:
            source = _widen(pixels[band.first : band.last, columns], self.dtype)
            narrow = np.empty((channels, source.shape[1], self.width), self.dtype)
            for lines, weights, seen in self.across.blocks:
                np.matmul(source[:, :, seen], weights.T, out=narrow[:, :, lines])
            np.floor(_raised(narrow), out=narrow)
            for lines, weights, seen in band.blocks:
                np.matmul(weights, narrow[:, seen], out=result[:, lines])
        return _raised(result)


def plan_resampling(
    across: Span, down: Span, size: tuple[int, int], interpolation: Interpolation, *, exact: bool
) -> Resampling:
    """`size` is the source's height and width; `exact` asks for float64. Not for NEAREST, which weighs nothing."""
    dtype = np.float64 if exact else np.float32
    columns = _blocks(across, _weights(across, size[1], interpolation), size[1], _USUAL_ROWS, dtype)
    rows = _blocks(down, _weights(down, size[0], interpolation), size[0], across.length, dtype)
    only = _band(columns)
    per_row = max(block.weights.size for block in columns)
    widest = max(only.last - only.first, across.length)
    most_rows = min(_MOST_IN_PRODUCT // per_row, _MOST_IN_BAND // widest)
    return Resampling(down.length, across.length, dtype, only, _bands(rows, most_rows))


def _widen(pixels: NDArray[np.uint8], dtype: _Dtype) -> Floats:
    """(C, H, W) from (H, W) or (H, W, C)."""
    if pixels.ndim == 2:
        return pixels[np.newaxis].astype(dtype)
    planes = np.empty((pixels.shape[2], *pixels.shape[:2]), np.uint8)
    cv2.split(pixels, list(planes))  # where `split` allocates by itself, it takes 15 times as long
    return planes.astype(dtype)


def _raised(values: Floats) -> Floats:
    """In place: their whole part is then the nearest level, halves upwards."""
    values += 0.5
    return np.clip(values, 0.0, 255.0, out=values)


def _blocks(span: Span, weighted: _Weights, size: int, width: int, dtype: _Dtype) -> list[Block]:
    """For products with `width` numbers a line."""
    starts, weights = weighted
    count, taps = weights.shape
    step = _step((span.source_stop - span.source_start) / span.length, taps, width)
    first = starts.tolist()
    spread = _spread(weights, starts - np.repeat(starts[::step], step)[:count], dtype)
    blocks = []
    for line in range(0, count, step):
        stop = min(line + step, count)
        seen = slice(first[line], min(first[stop - 1] + taps, size))
        blocks.append(Block(slice(line, stop), spread[line:stop, : seen.stop - seen.start], seen))
    return blocks


def _step(scale: float, taps: int, width: int) -> int:
    """How many lines a block has."""
    return next((n for n in _BLOCKS if n * ((n - 1) * scale + taps + 1) * width <= _MOST_IN_PRODUCT), 1)


def _spread(weights: _Doubles, shifts: NDArray[np.int64], dtype: _Dtype) -> Floats:
    """Each line's weights, moved to the right by its shift, with zeros around them."""
    count, taps = weights.shape
    length = int(shifts.max()) + taps
    spread = np.zeros((count, length), dtype)
    first = shifts + np.arange(count) * length
    spread.reshape(-1)[first[:, None] + np.arange(taps)] = weights
    return spread


def _weights(span: Span, size: int, interpolation: Interpolation) -> _Weights:
    """Each line's first source line, and (lines, taps): what each source line from there counts.

    Taps that lie beyond the source count nothing.
    """
    support, value = _FILTERS[interpolation]
    scale = (span.source_stop - span.source_start) / span.length
    wide = max(scale, 1.0)
    centres = span.source_start + (np.arange(span.length) + 0.5) * scale
    starts = np.maximum((centres - support * wide + 0.5).astype(np.int64), 0)
    stops = np.minimum((centres + support * wide + 0.5).astype(np.int64), size)
    lines = starts[:, None] + np.arange(int((stops - starts).max()))
    weights = value(np.abs((lines - centres[:, None] + 0.5) * (1.0 / wide)))
    weights[lines >= stops[:, None]] = 0.0
    weights *= _WEIGHT_STEPS / weights.sum(axis=1, keepdims=True)
    return starts, np.rint(weights, out=weights) / _WEIGHT_STEPS


def _bands(blocks: Sequence[Block], most: int) -> tuple[Band, ...]:
    """Neighbouring blocks together, as long as they look at no more than `most` lines."""
    groups: list[list[Block]] = []
    for block in blocks:
        if groups and block.source.stop - groups[-1][0].source.start <= most:
            groups[-1].append(block)
        else:
            groups.append([block])
    return tuple(_band(group) for group in groups)


def _band(blocks: Sequence[Block]) -> Band:
    first = blocks[0].source.start
    moved = [Block(lines, weights, slice(seen.start - first, seen.stop - first)) for lines, weights, seen in blocks]
    return Band(first, blocks[-1].source.stop, tuple(moved))
