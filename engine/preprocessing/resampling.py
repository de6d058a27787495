"""Pillow's antialiased resize, as products of small matrices.

Each line of the result is a weighted sum of a few neighbouring lines of the source. Some lines of the result at once
are one product, of a small band of weights with the lines they look at: twice as fast as Pillow, which adds number by
number. Blocks that begin at even distances are one call, since each call costs a turn at the interpreter's lock, which
the threads of other pictures want, too. Weights, order (across, then down) and the rounding between the two are
Pillow's. With float64 so is every bit of the result. With float32, which is faster, a sum next to the border between
two levels may fall to the other side: 1 of 50,000 values of a photo, and 1 of 100 where simple ratios put many sums
exactly there.
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

# Multiplications in one product. From 262,144 on OpenBLAS hands a product to threads of its own, which wait by
# spinning: more work for the processor, and up to 20 times slower where its cores have other work.
_MOST_IN_PRODUCT = 250_000

# Lines of the result in one product: more are less calls, but more zeros among the weights.
_BLOCKS = (16, 8, 4, 2, 1)
_USUAL_ROWS = 512
# Blocks in one call may look at so many times the lines that the one which needs most does.
_MORE_SEEN = 1.4
# How many blocks at the left and at the right border are not like the others.
_BORDERS = ((0, 0), (0, 1), (1, 0), (1, 1), (1, 2), (2, 2))

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


class Run(NamedTuple):
    """Neighbouring blocks in one call; `weights`: (blocks, lines, source lines).

    Block b has so many lines from `begin` + b * lines on, and looks at so many from `first` + b * `step` on.
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
    """What is computed from one piece of the source; its `runs` count from `first`."""

    first: int
    last: int
    runs: tuple[Run, ...]


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
            for run in self.across.runs:
                np.matmul(run.windows(source, 2), run.weights.transpose(0, 2, 1), out=_columns(narrow, run))
            np.floor(_raised(narrow), out=narrow)
            for run in band.runs:
                np.matmul(run.weights, run.windows(narrow, 1), out=_rows(result, run))
        return _raised(result)


def _columns(narrow: Floats, run: Run) -> Floats:
    """(C, blocks, H, lines): where a run's columns of (C, H, W) go."""
    blocks, lines, _ = run.weights.shape
    part = narrow[:, :, run.lines]
    return part.reshape(*part.shape[:2], blocks, lines).transpose(0, 2, 1, 3)


def _rows(result: Floats, run: Run) -> Floats:
    """(C, blocks, lines, W): where a run's rows of (C, H, W) go."""
    blocks, lines, _ = run.weights.shape
    part = result[:, run.lines]
    return part.reshape(part.shape[0], blocks, lines, part.shape[2])


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
    first, last = blocks[0].source.start, blocks[-1].source.stop
    return Band(first, last, tuple(_runs(blocks, first, last - first)))


def _runs(blocks: Sequence[Block], first: int, size: int) -> list[Run]:
    """As many blocks together as still look at few lines more than each needs; `size` lines there are from `first`.

    At the source's borders the first or last block may look at less than its neighbours: then it is a run by itself.
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
    """None where they are not alike or begin at distances too uneven."""
    if len(blocks) == 1:
        return _singly(blocks, first)[0]
    starts = np.asarray([block.source.start - first for block in blocks])
    needed = np.asarray([block.weights.shape[1] for block in blocks])
    distance = (starts[-1] - starts[0]) / (len(blocks) - 1)
    for step in (round(distance), math.floor(distance)):
        ahead = starts - np.arange(len(blocks)) * step
        begin, seen = int(ahead.min()), int((ahead - ahead.min() + needed).max())
        inside = begin >= 0 and begin + (len(blocks) - 1) * step + seen <= size
        if inside and seen <= needed.max() * _MORE_SEEN and len(blocks[-1].weights) == len(blocks[0].weights):
            return Run(blocks[0].lines.start, _stack(blocks, (ahead - begin).tolist(), seen), begin, step)
    return None


def _stack(blocks: Sequence[Block], ahead: Sequence[int], seen: int) -> Floats:
    """(blocks, lines, seen): each block's weights, moved to the right by so many lines as it is ahead."""
    weights = np.zeros((len(blocks), len(blocks[0].weights), seen), blocks[0].weights.dtype)
    for target, more, block in zip(weights, ahead, blocks, strict=True):
        target[:, more : more + block.weights.shape[1]] = block.weights
    return weights
