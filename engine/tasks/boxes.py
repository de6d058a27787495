"""Boxes with scores, as arrays: choosing the best class, suppressing doubles, mapping back to the picture."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from engine.preprocessing.geometry import Frame
from engine.tasks.outputs import Array
from engine.tasks.predictions import Box

Indices = NDArray[np.intp]

# Suppression compares each box with each: a model that finds something everywhere must not take seconds.
MAX_CANDIDATES = 3000

# How many boxes an answer has at most when a request does not say.
DEFAULT_BOXES = 100


@dataclass(frozen=True, slots=True)
class Candidates:
    """K boxes. `boxes` (K, 4): xmin, ymin, xmax, ymax; `scores` (K,): 0 to 1; `class_ids` (K,).

    `extras` (K, E): what else a head gives for each box: landmarks or mask coefficients; E may be 0.
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
    """`scores` (B, C): each box with its best class, where that reaches the threshold."""
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
    """Class-aware non-maximum suppression: of two boxes of a class that overlap more, the better one stays."""
    found = found.take(_best(found.scores, MAX_CANDIDATES))
    if not len(found):
        return found
    rectangles = found.boxes.astype(np.float64)
    rectangles[:, 2:] -= rectangles[:, :2]
    kept = cv2.dnn.NMSBoxesBatched(rectangles, found.scores, found.class_ids, -1.0, iou_threshold)  # type: ignore[arg-type]  # the stubs want lists
    return found.take(np.asarray(kept, np.intp))


def with_area(found: Candidates) -> Candidates:
    """Without what is no box, or lies outside the picture and so was cut to nothing."""
    width, height = found.boxes[:, 2] - found.boxes[:, 0], found.boxes[:, 3] - found.boxes[:, 1]
    return found.take(np.flatnonzero((width > 0) & (height > 0)))


def by_score(found: Candidates, top_k: int) -> Candidates:
    return found.take(_best(found.scores, top_k))


def to_picture(found: Candidates, frame: Frame) -> Candidates:
    return Candidates(frame.to_picture(found.boxes), found.scores, found.class_ids, found.extras)


def cut(found: Candidates, frame: Frame) -> Candidates:
    """Boxes that are in the picture's pixels already, cut at its borders."""
    borders = np.array([frame.picture.width, frame.picture.height] * 2, np.float32)
    return Candidates(np.clip(found.boxes, 0, borders), found.scores, found.class_ids, found.extras)


def as_box(row: Array) -> Box:
    """(4,) in the picture's pixels."""
    return Box(*(round(float(edge), 2) for edge in row))


def _best(scores: Array, count: int) -> Indices:
    """The rows of at most `count` best scores, best first; equal scores in their order."""
    return np.argsort(-scores, kind="stable")[:count]
