"""Rotated boxes, as in Ultralytics' OBB models: centre x, centre y, width, height, and an angle in radians."""

import numpy as np
from numpy.typing import NDArray

from engine.tasks.boxes import MAX_CANDIDATES, Candidates, by_score
from engine.tasks.outputs import Array

Double = NDArray[np.float64]

_EPSILON = 1e-7
_ROWS_AT_ONCE = 256  # of the matrix of overlaps: bounds its memory


def rotated_corners(boxes: Array, angles: Array) -> Array:
    """(B, 4, 2) from boxes (B, 4) and angles (B, 1), in the order of Ultralytics' `xywhr2xyxyxyxy`."""
    centre, angle = boxes[:, :2], angles[:, 0]
    cos, sin = np.cos(angle), np.sin(angle)
    across = np.stack([cos, sin], axis=1) * boxes[:, 2:3] / 2
    down = np.stack([-sin, cos], axis=1) * boxes[:, 3:4] / 2
    corners = [centre + across + down, centre + across - down, centre - across - down, centre - across + down]
    return np.asarray(np.stack(corners, axis=1), np.float32)


def suppress_rotated(found: Candidates, iou_threshold: float) -> Candidates:
    """Class-aware Fast NMS: drops a box that overlaps any box of its class with a higher score.

    `found.boxes` (B, 4) are centres and sizes, `found.extras` (B, 1) angles.
    """
    found = by_score(found, MAX_CANDIDATES)
    boxes = np.concatenate([found.boxes, found.extras], axis=1).astype(np.float64)
    each_class = (np.flatnonzero(found.class_ids == class_id) for class_id in np.unique(found.class_ids))
    kept = [rows[_is_first(boxes[rows], iou_threshold)] for rows in each_class]
    return found.take(np.concatenate(kept) if kept else np.empty(0, np.intp))


def _is_first(boxes: Double, iou_threshold: float) -> NDArray[np.bool_]:
    """Whether a box overlaps no earlier one."""
    kept = np.ones(len(boxes), np.bool_)
    for start in range(0, len(boxes), _ROWS_AT_ONCE):
        overlaps = probabilistic_iou(boxes[start : start + _ROWS_AT_ONCE], boxes) > iou_threshold
        kept &= ~np.triu(overlaps, start + 1).any(axis=0)
    return kept


def probabilistic_iou(one: Double, other: Double) -> Double:
    """(A, B) overlaps of the boxes' Gaussian distributions, from (A, 5) and (B, 5). https://arxiv.org/abs/2106.06072"""
    x1, y1, a1, b1, c1 = (part[:, None] for part in _gaussian(one))
    x2, y2, a2, b2, c2 = (part[None] for part in _gaussian(other))
    a, b, c = a1 + a2, b1 + b2, c1 + c2
    dx, dy = x2 - x1, y1 - y2
    determinant = a * b - c**2
    place = (a * dy**2 + b * dx**2) / (determinant + _EPSILON) / 4 + c * dx * dy / (determinant + _EPSILON) / 2
    own = np.sqrt(np.maximum(a1 * b1 - c1**2, 0) * np.maximum(a2 * b2 - c2**2, 0))
    shape = np.log(determinant / (4 * own + _EPSILON) + _EPSILON) / 2
    distance = np.clip(place + shape, _EPSILON, 100)
    return np.asarray(1 - np.sqrt(1 - np.exp(-distance) + _EPSILON), np.float64)


def _gaussian(boxes: Double) -> tuple[Double, Double, Double, Double, Double]:
    """Centre x and y, and the covariance matrix [[a, c], [c, b]]."""
    x, y, width, height, angle = boxes.T
    across, down = width**2 / 12, height**2 / 12
    cos, sin = np.cos(angle), np.sin(angle)
    return x, y, across * cos**2 + down * sin**2, across * sin**2 + down * cos**2, (across - down) * cos * sin
