"""Boxes with scores, as arrays: best classes, non-maximum suppression, mapping to the picture."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from engine.preprocessing.geometry import Frame
from engine.tasks.outputs import Array
from engine.tasks.predictions import Box

Indices = NDArray[np.intp]

# Suppression compares all pairs of boxes: this bounds its time.
MAX_CANDIDATES = 3000

# Boxes of an answer at most, unless the request sets `top_k`.
DEFAULT_BOXES = 100


@dataclass(frozen=True, slots=True)
class Candidates:
    """K boxes. `boxes` (K, 4): xmin, ymin, xmax, ymax; `scores` (K,): 0 to 1; `class_ids` (K,).

    `extras` (K, E): further values of each box, such as landmarks or mask coefficients; E may be 0.
    """

    boxes: Array
    scores: Array
    class_ids: NDArray[np.int32]
    extras: Array

    def __len__(self) -> int:
        return len(self.scores)

    def take(self, rows: Indices) -> "Candidates":
        return Candidates(self.boxes[rows], self.scores[rows], self.class_ids[rows], self.extras[rows])


def candidates(boxes: Array, scores: Array, class_ids: NDArray[np.generic], extras: Array | None = None) -> Candidates:
    extras = np.empty((len(scores), 0), np.float32) if extras is None else extras
    return Candidates(boxes, scores, class_ids.astype(np.int32), extras)


def best_classes(boxes: Array, scores: Array, threshold: float, extras: Array | None = None) -> Candidates:
    """`scores` (B, C): each box whose best class reaches the threshold, with that class."""
    rows = np.flatnonzero(scores.max(axis=1) >= threshold)
    class_ids = scores[rows].argmax(axis=1)
    return candidates(boxes[rows], scores[rows, class_ids], class_ids, None if extras is None else extras[rows])


def all_classes(boxes: Array, scores: Array, threshold: float) -> Candidates:
    """`scores` (B, C): a candidate for every class of a box that reaches the threshold."""
    rows, class_ids = np.nonzero(scores >= threshold)
    best = _best(scores[rows, class_ids], MAX_CANDIDATES)
    rows, class_ids = rows[best], class_ids[best]
    return candidates(boxes[rows], scores[rows, class_ids], class_ids)


def corners(centres: Array) -> Array:
    """(B, 4) as centre x, centre y, width, height -> xmin, ymin, xmax, ymax."""
    centre, half = centres[:, :2], centres[:, 2:4] / 2
    return np.concatenate([centre - half, centre + half], axis=1)


def suppress(found: Candidates, iou_threshold: float) -> Candidates:
    """Class-aware NMS: of two boxes of a class with a higher IoU, the one with the higher score stays."""
    found = found.take(_best(found.scores, MAX_CANDIDATES))
    if not len(found):
        return found
    rectangles = found.boxes.astype(np.float64)
    rectangles[:, 2:] -= rectangles[:, :2]
    kept = cv2.dnn.NMSBoxesBatched(rectangles, found.scores, found.class_ids, -1.0, iou_threshold)  # type: ignore[arg-type]  # the stubs want lists
    return found.take(np.asarray(kept, np.intp))


def with_area(found: Candidates) -> Candidates:
    """Drop boxes without area, such as those that were cut off outside the picture."""
    width, height = found.boxes[:, 2] - found.boxes[:, 0], found.boxes[:, 3] - found.boxes[:, 1]
    return found.take(np.flatnonzero((width > 0) & (height > 0)))


def by_score(found: Candidates, top_k: int) -> Candidates:
    return found.take(_best(found.scores, top_k))


def to_picture(found: Candidates, frame: Frame) -> Candidates:
    return Candidates(frame.to_picture(found.boxes), found.scores, found.class_ids, found.extras)


def clip(found: Candidates, frame: Frame) -> Candidates:
    """Clip boxes in the picture's pixels to its borders."""
    borders = np.array([frame.picture.width, frame.picture.height] * 2, np.float32)
    return Candidates(np.clip(found.boxes, 0, borders), found.scores, found.class_ids, found.extras)


def as_box(row: Array) -> Box:
    """(4,) in the picture's pixels."""
    return Box(*(round(float(edge), 2) for edge in row))


def _best(scores: Array, count: int) -> Indices:
    """The rows of the `count` best scores, best first; equal scores in their order."""
    return np.argsort(-scores, kind="stable")[:count]
