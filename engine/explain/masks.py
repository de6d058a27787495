"""Which part of the picture each run hides, and the heat map that follows from the scores of the runs.

A mask is (h, w) float32: 1 where the picture is shown, 0 where it is hidden. A map has the same size: the change of the
score by showing a pixel, positive where it speaks for the target. Scores may be fewer than `total` after a deadline.
"""

from collections.abc import Sequence
from typing import Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from engine.tasks.outputs import Array
from loaders.images.base import Size

_WINDOWS = 7  # across and down
_QUARTERS = 4  # parts of a window; of the windows, one in as many is split

# Of RISE (Petsiuk et al. 2018): cells across and down, and the probability that a cell is shown.
RISE_CELLS = 8
RISE_SHOWN = 0.5
_LEAST = np.float32(0.01)  # runs that have shown and hidden a pixel; with fewer its value is 0


class Masks(Protocol):
    total: int

    def mask(self, index: int, scores: Sequence[float]) -> Array:
        """The mask of run `index`, given the scores of the runs before."""

    def heat_map(self, whole: float, scores: Sequence[float]) -> Array:
        """`whole`: the score of the whole picture."""


class Occlusion:
    """Hides a window at a time, on a grid of 7 x 7; then each quarter of the windows with the strongest effect."""

    def __init__(self, size: Size) -> None:
        self._size = size
        self._rows, self._columns = (min(_WINDOWS, max(1, side // 2)) for side in (size.height, size.width))
        self._windows = self._rows * self._columns
        self._split = max(1, self._windows // _QUARTERS)
        self.total = self._windows + _QUARTERS * self._split

    def mask(self, index: int, scores: Sequence[float]) -> Array:
        window, quarter, span = index, 0, 2
        if index >= self._windows:
            place, quarter = divmod(index - self._windows, _QUARTERS)
            window, span = int(self._strongest(scores)[place]), 1
        row, column = 2 * (window // self._columns) + quarter // 2, 2 * (window % self._columns) + quarter % 2
        mask = np.ones((self._size.height, self._size.width), np.float32)
        down = np.rint(np.linspace(0, self._size.height, 2 * self._rows + 1)).astype(int)
        across = np.rint(np.linspace(0, self._size.width, 2 * self._columns + 1)).astype(int)
        mask[down[row] : down[row + span], across[column] : across[column + span]] = 0
        return mask

    def heat_map(self, whole: float, scores: Sequence[float]) -> Array:
        """A window's value is the drop of the score; its quarters share it by their own drops."""
        drops = np.zeros(self.total, np.float32)
        drops[: len(scores)] = whole - np.asarray(scores)
        grid = drops[: self._windows].reshape(self._rows, self._columns).repeat(2, axis=0).repeat(2, axis=1)
        done = (len(scores) - self._windows) // _QUARTERS
        for place, window in enumerate(self._strongest(scores)[: max(0, done)]):
            first = self._windows + _QUARTERS * place
            parts = drops[first : first + _QUARTERS].reshape(2, 2)
            row, column = divmod(int(window), self._columns)
            grid[2 * row : 2 * row + 2, 2 * column : 2 * column + 2] += parts - parts.mean()
        resized = cv2.resize(grid, (self._size.width, self._size.height), interpolation=cv2.INTER_LINEAR)
        return np.asarray(resized, np.float32)

    def _strongest(self, scores: Sequence[float]) -> NDArray[np.intp]:
        return np.argsort(np.asarray(scores[: self._windows]), kind="stable")[: self._split]


class Rise:
    """Hides random cells of a randomly shifted grid, smoothly (RISE, https://arxiv.org/abs/1806.07421).

    The map is the mean score of the runs that show a pixel, less that of the runs that hide it.
    """

    def __init__(self, size: Size, samples: int, seed: int) -> None:
        self._size, self.total = size, samples
        cells = np.random.default_rng(seed).random((samples, RISE_CELLS, RISE_CELLS)) < RISE_SHOWN
        self._cells = cells.astype(np.float32)
        self._cell = Size(-(-size.width // RISE_CELLS), -(-size.height // RISE_CELLS))
        shifts = np.random.default_rng(seed)
        self._shifts = [
            (int(shifts.integers(0, self._cell.height)), int(shifts.integers(0, self._cell.width)))
            for _ in range(samples)
        ]

    def mask(self, index: int, _: Sequence[float] = ()) -> Array:
        whole = ((RISE_CELLS + 1) * self._cell.width, (RISE_CELLS + 1) * self._cell.height)
        resized = cv2.resize(self._cells[index], whole, interpolation=cv2.INTER_LINEAR)
        top, left = self._shifts[index]
        return np.asarray(resized[top : top + self._size.height, left : left + self._size.width], np.float32)

    def heat_map(self, whole: float, scores: Sequence[float]) -> Array:  # noqa: ARG002 - runs are compared with each other
        shown = np.zeros((self._size.height, self._size.width), np.float32)
        weighted = np.zeros_like(shown)
        for index, score in enumerate(scores):
            mask = self.mask(index)
            shown += mask
            weighted += np.float32(score) * mask
        hidden, rest = len(scores) - shown, np.float32(sum(scores)) - weighted
        difference = weighted / np.maximum(shown, _LEAST) - rest / np.maximum(hidden, _LEAST)
        return np.where(np.minimum(shown, hidden) < _LEAST, np.float32(0), difference)
