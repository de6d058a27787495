"""Pillow's antialiased resize, as products of small matrices.

Each line of the result is a weighted sum of a few neighbouring lines of the source. A block of several lines is one
product of a small matrix of weights with the lines that they read: twice as fast as Pillow. Blocks at equal distances
are one call, as each call takes the interpreter's lock, for which other threads wait. Weights, order (across, then
down) and the rounding between the two passes are those of Pillow. With float64 every bit of the result is, too. With
float32, which is faster, a sum near the border between two levels may be rounded to the other: 1 of 50,000 values of a
photo, and 1 of 100 where simple ratios put many sums exactly on a border.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import cv2
import numpy as np
from numpy.lib.stride_tricks import as_strided
from numpy.typing import NDArray

from engine.preprocessing.geometry import Span
from loaders.repository.specs.model_spec import Interpolation

Planes = NDArray[np.uint8]
_Doubles = NDArray[np.float64]
Floats = NDArray[np.float32 | np.float64]
_Dtype = type[np.float32 | np.float64]
_Weights = tuple[NDArray[np.int64], _Doubles]

# Pillow rounds its weights to whole multiples of 1 / _WEIGHT_STEPS.
_WEIGHT_STEPS = float(1 << 22)

# Multiplications in one product. From 262,144 on OpenBLAS starts threads that spin while they wait: more work for the
# processor, and up to 20 times slower if its cores have other work.
_MAX_IN_PRODUCT = 250_000

# Lines of the result in one product: more lines are fewer calls, but more zeros among the weights.
_BLOCKS = (16, 8, 4, 2, 1)
_USUAL_ROWS = 512
# Blocks in one call may read this many times the lines of the block that needs most.
_MAX_EXCESS = 1.4
# Numbers of blocks at the left and at the right border that may differ from the others.
_BORDERS = ((0, 0), (0, 1), (1, 0), (1, 1), (1, 2), (2, 2))

# Numbers of one channel that are converted to floats at once.
_MAX_IN_BAND = 1 << 19


def _bilinear(x: _Doubles) -> _Doubles:
    return np.maximum(1.0 - x, 0.0)


def _bicubic(x: _Doubles) -> _Doubles:
    near = (1.5 * x - 2.5) * x * x + 1.0
    far = (((x - 5.0) * x + 8.0) * x - 4.0) * -0.5
    return np.where(x < 1.0, near, np.where(x < 2.0, far, 0.0))


def _lanczos(x: _Doubles) -> _Doubles:
    return np.where(x < 3.0, np.sinc(x) * np.sinc(x / 3.0), 0.0)


# Support of each filter, in pixels of the source or of the result, whichever are larger; its value at |x|.
_FILTERS: dict[Interpolation, tuple[float, Callable[[_Doubles], _Doubles]]] = {
    Interpolation.BILINEAR: (1.0, _bilinear),
    Interpolation.BICUBIC: (2.0, _bicubic),
    Interpolation.LANCZOS: (3.0, _lanczos),
}


class Block(NamedTuple):
    """Neighbouring lines of the result: their range, `weights` as (lines, source lines), the range of source lines."""

    lines: slice
    weights: Floats
    source: slice


class Run(NamedTuple):
    """Neighbouring blocks in one call; `weights`: (blocks, lines, source lines).

    Block b computes its lines from `begin` + b * lines on, and reads source lines from `first` + b * `step` on.
    """

    begin: int
    weights: Floats
    first: int
    step: int

    @property
    def lines(self) -> slice:
        return slice(self.begin, self.begin + self.weights.shape[0] * self.weights.shape[1])

    def windows(self, source: Floats, axis: int) -> Floats:
        """(C, blocks, source lines, W) of a (C, H, W) along axis 1, (C, blocks, H, source lines) along axis 2."""
        count, _, seen = self.weights.shape
        strides = source.strides
        shape = [source.shape[0], count, *source.shape[1:]]
        shape[axis + 1] = seen
        begin = source[:, self.first :] if axis == 1 else source[:, :, self.first :]
        return as_strided(begin, shape, (strides[0], self.step * strides[axis], *strides[1:]), writeable=False)


class Band(NamedTuple):
    """The part of the result that is computed from source lines `first` to `last`; its `runs` count from `first`."""

    first: int
    last: int
    runs: tuple[Run, ...]


@dataclass(frozen=True, slots=True)
class Resampling:
    """The resize of part of a picture, planned once for all pictures of a size."""

    height: int
    width: int
    dtype: _Dtype
    across: Band
    down: tuple[Band, ...]

    def __call__(self, pixels: NDArray[np.uint8]) -> Floats:
        """(C, height, width) from (H, W) or (H, W, C), 0 to 255; the integer part of each value is Pillow's."""
        channels = 1 if pixels.ndim == 2 else pixels.shape[2]
        result = np.empty((channels, self.height, self.width), self.dtype)
        columns = slice(self.across.first, self.across.last)
        for band in self.down:
            source = _to_floats(pixels[band.first : band.last, columns], self.dtype)
            resized_across = np.empty((channels, source.shape[1], self.width), self.dtype)
            for run in self.across.runs:
                np.matmul(run.windows(source, 2), run.weights.transpose(0, 2, 1), out=_columns(resized_across, run))
            np.floor(_rounded(resized_across), out=resized_across)
            for run in band.runs:
                np.matmul(run.weights, run.windows(resized_across, 1), out=_rows(result, run))
        return _rounded(result)


def _columns(resized_across: Floats, run: Run) -> Floats:
    """(C, blocks, H, lines): a view of the columns that a run computes, in (C, H, W)."""
    blocks, lines, _ = run.weights.shape
    part = resized_across[:, :, run.lines]
    return part.reshape(*part.shape[:2], blocks, lines).transpose(0, 2, 1, 3)


def _rows(result: Floats, run: Run) -> Floats:
    """(C, blocks, lines, W): a view of the rows that a run computes, in (C, H, W)."""
    blocks, lines, _ = run.weights.shape
    part = result[:, run.lines]
    return part.reshape(part.shape[0], blocks, lines, part.shape[2])


def plan_resampling(
    across: Span, down: Span, size: tuple[int, int], interpolation: Interpolation, *, exact: bool
) -> Resampling:
    """`size`: height and width of the source; `exact`: float64. NEAREST has no weights and no plan."""
    dtype = np.float64 if exact else np.float32
    columns = _blocks(across, _weights(across, size[1], interpolation), size[1], _USUAL_ROWS, dtype)
    rows = _blocks(down, _weights(down, size[0], interpolation), size[0], across.length, dtype)
    only = _band(columns)
    per_row = max(block.weights.size for block in columns)
    widest = max(only.last - only.first, across.length)
    max_rows = min(_MAX_IN_PRODUCT // per_row, _MAX_IN_BAND // widest)
    return Resampling(down.length, across.length, dtype, only, _bands(rows, max_rows))


def _to_floats(pixels: NDArray[np.uint8], dtype: _Dtype) -> Floats:
    """(C, H, W) from (H, W) or (H, W, C)."""
    if pixels.ndim == 2:
        return pixels[np.newaxis].astype(dtype)
    planes = np.empty((pixels.shape[2], *pixels.shape[:2]), np.uint8)
    cv2.split(pixels, list(planes))  # 15 times as fast as when `split` allocates
    return planes.astype(dtype)


def _rounded(values: Floats) -> Floats:
    """In place: the integer part becomes the nearest level, halves rounded up."""
    values += 0.5
    return np.clip(values, 0.0, 255.0, out=values)


def _blocks(span: Span, weighted: _Weights, size: int, width: int, dtype: _Dtype) -> list[Block]:
    """Blocks for products with `width` numbers a line."""
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
    """The number of lines in a block."""
    return next((n for n in _BLOCKS if n * ((n - 1) * scale + taps + 1) * width <= _MAX_IN_PRODUCT), 1)


def _spread(weights: _Doubles, shifts: NDArray[np.int64], dtype: _Dtype) -> Floats:
    """The weights of each line, shifted to the right, with zeros around them."""
    count, taps = weights.shape
    length = int(shifts.max()) + taps
    spread = np.zeros((count, length), dtype)
    first = shifts + np.arange(count) * length
    spread.reshape(-1)[first[:, None] + np.arange(taps)] = weights
    return spread


def _weights(span: Span, size: int, interpolation: Interpolation) -> _Weights:
    """The first source line of each line, and the weights (lines, taps) of the source lines from there on.

    Taps beyond the source have weight 0.
    """
    support, value = _FILTERS[interpolation]
    scale = (span.source_stop - span.source_start) / span.length
    stretch = max(scale, 1.0)
    centres = span.source_start + (np.arange(span.length) + 0.5) * scale
    starts = np.maximum((centres - support * stretch + 0.5).astype(np.int64), 0)
    stops = np.minimum((centres + support * stretch + 0.5).astype(np.int64), size)
    lines = starts[:, None] + np.arange(int((stops - starts).max()))
    weights = value(np.abs((lines - centres[:, None] + 0.5) * (1.0 / stretch)))
    weights[lines >= stops[:, None]] = 0.0
    weights *= _WEIGHT_STEPS / weights.sum(axis=1, keepdims=True)
    return starts, np.rint(weights, out=weights) / _WEIGHT_STEPS


def _bands(blocks: Sequence[Block], limit: int) -> tuple[Band, ...]:
    """Group neighbouring blocks that read at most `limit` lines."""
    groups: list[list[Block]] = []
    for block in blocks:
        if groups and block.source.stop - groups[-1][0].source.start <= limit:
            groups[-1].append(block)
        else:
            groups.append([block])
    return tuple(_band(group) for group in groups)


def _band(blocks: Sequence[Block]) -> Band:
    first, last = blocks[0].source.start, blocks[-1].source.stop
    return Band(first, last, tuple(_runs(blocks, first, last - first)))


def _runs(blocks: Sequence[Block], first: int, size: int) -> list[Run]:
    """Group blocks into runs, as long as each reads few lines more than it needs; `size`: source lines from `first` on.

    At the borders of the source the first or last block may read fewer lines than the others: it is a run alone.
    """
    borders = [(blocks[:a], blocks[a : len(blocks) - b], blocks[len(blocks) - b :]) for a, b in _BORDERS]
    for left, middle, right in borders:
        if middle and (run := _run(middle, first, size)):
            return [*_singly(left, first), run, *_singly(right, first)]
    half = len(blocks) // 2
    return [*_runs(blocks[:half], first, size), *_runs(blocks[half:], first, size)]


def _singly(blocks: Sequence[Block], first: int) -> list[Run]:
    return [Run(b.lines.start, b.weights[np.newaxis], b.source.start - first, 0) for b in blocks]


def _run(blocks: Sequence[Block], first: int, size: int) -> Run | None:
    """None if the blocks differ in size or start at too uneven distances."""
    if len(blocks) == 1:
        return _singly(blocks, first)[0]
    starts = np.asarray([block.source.start - first for block in blocks])
    needed = np.asarray([block.weights.shape[1] for block in blocks])
    distance = (starts[-1] - starts[0]) / (len(blocks) - 1)
    for step in (round(distance), math.floor(distance)):
        ahead = starts - np.arange(len(blocks)) * step
        begin, seen = int(ahead.min()), int((ahead - ahead.min() + needed).max())
        inside = begin >= 0 and begin + (len(blocks) - 1) * step + seen <= size
        if inside and seen <= needed.max() * _MAX_EXCESS and len(blocks[-1].weights) == len(blocks[0].weights):
            return Run(blocks[0].lines.start, _stack(blocks, (ahead - begin).tolist(), seen), begin, step)
    return None


def _stack(blocks: Sequence[Block], ahead: Sequence[int], seen: int) -> Floats:
    """(blocks, lines, seen): the weights of each block, shifted to the right by `ahead` lines."""
    weights = np.zeros((len(blocks), len(blocks[0].weights), seen), blocks[0].weights.dtype)
    for target, more, block in zip(weights, ahead, blocks, strict=True):
        target[:, more : more + block.weights.shape[1]] = block.weights
    return weights
