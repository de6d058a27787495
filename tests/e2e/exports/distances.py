"""How far an answer is from the framework's: 0 is equal, 1 has nothing in common.

image-classification       largest difference of a probability
image-feature-extraction   distance of the vectors, relative to the framework's spread between photos
depth-estimation, tensor   mean difference, relative to the range of the framework's values
image-segmentation         share of pixels with another class; of objects: as boxes, with the masks' overlap
object-detection           1 - F1 of the objects: a pair has one label, its boxes overlap, its scores are close
keypoint-detection         the same; a pair's keypoints are close, too
"""

import numpy as np

from tests.e2e.exports.case import Answer, Array, Case

_PAIR_IOU = 0.9  # a pixel more or less of a small box
_PAIR_SCORE = 0.02
_PAIR_KEYPOINT = 0.02  # of the box's longer side
_ROUNDING = 0.02  # pixels: served coordinates have two decimals
# An object this close above the threshold need not be found by both.
_MARGIN = 0.02


def distance(case: Case, found: Answer, expected: Answer, spread: float) -> float:
    """`spread`: of the framework's vectors, see `spread_of`."""
    match case.task:
        case "image-classification":
            return float(np.abs(found["scores"] - expected["scores"].astype(np.float64)).max())
        case "image-feature-extraction":
            return float(np.linalg.norm(found["vector"] - expected["vector"].astype(np.float64)) / spread)
        case "depth-estimation":
            return _maps(found["depth"], expected["depth"])
        case "tensor":
            return _maps(found["tensor"], expected["tensor"])
    if "classes" in expected:
        return float((found["classes"] != expected["classes"]).mean())
    return _objects(found, expected, case.threshold)


def spread_of(answers: list[Answer]) -> float:
    """Mean distance of the photos' vectors from their mean; 1 for other answers."""
    if "vector" not in answers[0]:
        return 1.0
    vectors = np.stack([answer["vector"].astype(np.float64) for answer in answers])
    return float(np.linalg.norm(vectors - vectors.mean(0), axis=1).mean())


def same_first(found: Answer, expected: Answer, bound: float) -> bool:
    """Whether the first label is the framework's, or its lead there is too small to tell."""
    scores = expected["scores"]
    first, second = np.argsort(-scores)[:2]
    return bool(np.argmax(found["scores"]) == first or scores[first] - scores[second] <= 2 * bound)


def _maps(found: Array, expected: Array) -> float:
    expected = expected.astype(np.float64)
    spread = float(expected.max() - expected.min()) or max(abs(float(expected.max())), 1e-6)
    return float(np.abs(found - expected).mean() / spread)


def _objects(found: Answer, expected: Answer, threshold: float | None) -> float:
    """1 - F1. Objects just above the threshold are looked for by the other side, but need not be found."""
    clear_from = _MARGIN + (threshold or min(expected["scores"], default=0))
    both = [_rows(answer) for answer in (found, expected)]
    paired = [both[side][row] for pair in _pair(*both) for side, row in enumerate(pair)]
    clear = sum(int(row["scores"] >= clear_from) for rows in both for row in rows)
    agreed = sum(int(row["scores"] >= clear_from) for row in paired)
    return 0.0 if clear == 0 else 1 - agreed / clear


def _rows(answer: Answer) -> list[Answer]:
    return [{name: column[row] for name, column in answer.items()} for row in range(len(answer["scores"]))]


def _pair(found: list[Answer], expected: list[Answer]) -> list[tuple[int, int]]:
    """Each object with the best free one of the framework's."""
    free, pairs = set(range(len(expected))), []
    for i, row in enumerate(found):
        overlaps = {j: _likeness(row, expected[j]) for j in free if _is_of_one_kind(row, expected[j])}
        best = max(overlaps, key=lambda j: overlaps[j], default=None)
        if best is not None and overlaps[best] >= _PAIR_IOU:
            free.discard(best)
            pairs.append((i, best))
    return pairs


def _is_of_one_kind(one: Answer, other: Answer) -> bool:
    """Whether label and score agree."""
    return bool(one["labels"] == other["labels"] and abs(one["scores"] - other["scores"]) <= _PAIR_SCORE)


def _likeness(found: Answer, expected: Answer) -> float:
    if "masks" in expected:
        return _mask_iou(found["masks"], expected["masks"])
    if "corners" in expected:
        return _near(found["corners"], expected["corners"])
    likeness = _box_iou(found["boxes"], expected["boxes"])
    if "keypoints" in expected:
        side = max(expected["boxes"][2:] - expected["boxes"][:2])
        apart = np.abs(found["keypoints"] - expected["keypoints"])[:, :2].max()
        return likeness if apart <= max(_PAIR_KEYPOINT * side, _ROUNDING) else 0.0
    return likeness


def _near(found: Array, expected: Array) -> float:
    """1 - the distance of the corners, in whichever order, as a share of the diagonal."""
    diagonal = float(np.linalg.norm(expected[0] - expected[2])) or 1.0
    turns = [np.roll(found, turn, axis=0) for turn in range(4)]
    orders = [*turns, *(turn[::-1] for turn in turns)]
    return 1 - min(float(np.abs(order - expected).max()) for order in orders) / diagonal


def _box_iou(one: Array, other: Array) -> float:
    """Of boxes widened by half a pixel, so that boxes of a narrow picture have an area."""
    low, high = np.maximum(one[:2], other[:2]) - 0.5, np.minimum(one[2:], other[2:]) + 0.5
    inside = float(np.prod(np.clip(high - low, 0, None)))
    areas = [float(np.prod(box[2:] - box[:2] + 1)) for box in (one, other)]
    return inside / (sum(areas) - inside)


def _mask_iou(one: Array, other: Array) -> float:
    either = np.count_nonzero(one | other)
    return 1.0 if either == 0 else float(np.count_nonzero(one & other) / either)
