"""How far a served answer is from the framework's: 0 is equal, 1 has nothing in common.

image-classification       largest difference of a probability; 1 if the labels or a clear first place differ
image-feature-extraction   distance of the vectors, relative to the framework's spread between photos
depth-estimation, tensor   mean difference, relative to the range of the framework's values
image-segmentation         share of pixels with another class; of objects: as boxes, with the masks' overlap
object-detection           1 - F1 of the objects: a pair has one label, its boxes overlap, its scores are close
keypoint-detection         the same; a pair's keypoints are close, too
"""

from base64 import b64decode
from collections.abc import Callable, Mapping
from io import BytesIO
from typing import Any

import numpy as np
from PIL import Image

from tests.e2e.exports.case import Answer, Array, Case

Predictions = list[dict[str, Any]]

_PAIR_IOU = 0.9  # a pixel more or less of a small box
_PAIR_SCORE = 0.02
_PAIR_KEYPOINT = 0.02  # of the box's longer side
# An object this close above the threshold need not be found by both.
_MARGIN = 0.02


class UnlikeError(AssertionError):
    """The served answer has another form than the framework's."""


def distance(case: Case, predictions: Predictions, answer: Answer, spread: float) -> float:
    """`spread`: of the framework's vectors, see `spread_of`."""
    try:
        if case.task == "image-feature-extraction":
            return _vectors(predictions, answer, spread)
        if case.task in _DISTANCES:
            return _DISTANCES[case.task](predictions, answer)
        return _segments(predictions, answer) if "classes" in answer else _objects(predictions, answer, case.threshold)
    except KeyError as error:
        raise UnlikeError(f"a prediction has no {error}: {str(predictions)[:200]}") from error


def spread_of(answers: list[Answer]) -> float:
    """Mean distance of the photos' vectors from their mean; 1 for other answers."""
    if "vector" not in answers[0]:
        return 1.0
    vectors = np.stack([answer["vector"].astype(np.float64) for answer in answers])
    return float(np.linalg.norm(vectors - vectors.mean(0), axis=1).mean())


def _classes(predictions: Predictions, answer: Answer) -> float:
    """Without the framework's `labels`, which an export may not have, by number."""
    expected = answer["scores"].astype(np.float64)
    scores = np.zeros_like(expected)
    for found in predictions:
        if "labels" in answer and found["label"] != str(answer["labels"][found["class_id"]]):
            raise UnlikeError(f"class {found['class_id']} is labelled {found['label']!r}")
        scores[found["class_id"]] = found["score"]
    return float(np.abs(scores - expected).max())


def same_first(predictions: Predictions, answer: Answer, bound: float) -> bool:
    """Whether the first label is the framework's, or its lead there is too small to tell."""
    expected = answer["scores"]
    first, second = np.argsort(-expected)[:2]
    return bool(predictions[0]["class_id"] == first or expected[first] - expected[second] <= 2 * bound)


def _vectors(predictions: Predictions, answer: Answer, spread: float) -> float:
    vector = np.array(predictions[0]["embedding"], np.float64)
    expected = answer["vector"].astype(np.float64)
    if vector.shape != expected.shape:
        raise UnlikeError(f"{len(vector)} numbers, the framework has {len(expected)}")
    return float(np.linalg.norm(vector - expected) / spread)


def _maps(served: Array, expected: Array) -> float:
    if served.shape != expected.shape:
        raise UnlikeError(f"shape {served.shape}, the framework has {expected.shape}")
    expected = expected.astype(np.float64)
    spread = float(expected.max() - expected.min()) or max(abs(float(expected.max())), 1e-6)
    return float(np.abs(served - expected).mean() / spread)


def _depth(predictions: Predictions, answer: Answer) -> float:
    """A 16-bit PNG: 0 is `minimum`, 65535 is `maximum`."""
    found = predictions[0]
    low, high = found["minimum"], found["maximum"]
    return _maps(low + _picture(found["depth"]).astype(np.float64) / 65535 * (high - low), answer["depth"])


def _tensor(predictions: Predictions, answer: Answer) -> float:
    found = predictions[0]
    return _maps(np.array(found["data"], np.float64).reshape(found["shape"]), answer["tensor"])


def _segments(predictions: Predictions, answer: Answer) -> float:
    expected, labels = answer["classes"], answer["labels"]
    served = np.full(expected.shape, -1, np.int32)
    for found in predictions:
        if found["label"] != str(labels[found["class_id"]]):
            raise UnlikeError(f"class {found['class_id']} is labelled {found['label']!r}")
        mask = _picture(found["mask"])
        if mask.shape != expected.shape:
            raise UnlikeError(f"a mask of {mask.shape}, the picture is {expected.shape}")
        served[mask > 127] = found["class_id"]
    return float((served != expected).mean())


def _objects(predictions: Predictions, answer: Answer, threshold: float | None) -> float:
    """1 - F1. Objects just above the threshold are looked for by the other side, but need not be found."""
    clear_from = _MARGIN + (threshold or min(answer["scores"], default=0))
    expected = [{name: answer[name][row] for name in answer} for row in range(len(answer["scores"]))]
    for row in expected:
        row["label"] = str(row["labels"])
    served = [_served(found) for found in predictions]
    pairs = _pair(served, expected)
    clear = sum(int(row["scores"] >= clear_from) for row in [*expected, *served])
    paired = [row for i, j in pairs for row in (served[i], expected[j])]
    agreed = sum(int(row["scores"] >= clear_from) for row in paired)
    return 0.0 if clear == 0 else 1 - agreed / clear


def _served(found: dict[str, Any]) -> dict[str, Any]:
    row: dict[str, Any] = {"label": found["label"], "scores": 1.0 if found["score"] is None else found["score"]}
    if "mask" in found:
        row["masks"] = _picture(found["mask"]) > 127
    if "box" in found:
        row["boxes"] = np.array([found["box"][side] for side in ("xmin", "ymin", "xmax", "ymax")])
    if "corners" in found:
        row["corners"] = np.array([_point(corner) for corner in found["corners"]])
    if "keypoints" in found:
        row["keypoints"] = np.array([_point(point) for point in found["keypoints"]])
    return row


def _point(point: Any) -> tuple[float, float]:
    return (point["x"], point["y"]) if isinstance(point, Mapping) else (point[0], point[1])


def _pair(served: list[dict[str, Any]], expected: list[dict[str, Any]]) -> list[tuple[int, int]]:
    """Each served object with the best free one of the framework's."""
    free, pairs = set(range(len(expected))), []
    for i, row in enumerate(served):
        overlaps = {j: _likeness(row, expected[j]) for j in free if _is_of_one_kind(row, expected[j])}
        best = max(overlaps, key=lambda j: overlaps[j], default=None)
        if best is not None and overlaps[best] >= _PAIR_IOU:
            free.discard(best)
            pairs.append((i, best))
    return pairs


def _is_of_one_kind(one: dict[str, Any], other: dict[str, Any]) -> bool:
    """Whether label and score agree."""
    return bool(one["label"] == other["label"] and abs(one["scores"] - other["scores"]) <= _PAIR_SCORE)


def _likeness(served: dict[str, Any], expected: dict[str, Any]) -> float:
    if "masks" in expected:
        return _mask_iou(served["masks"], expected["masks"])
    if "corners" in expected:
        return _near(served["corners"], expected["corners"], _any_start)
    likeness = _box_iou(served["boxes"], expected["boxes"])
    if "keypoints" in expected:
        side = max(expected["boxes"][2:] - expected["boxes"][:2])
        apart = np.abs(served["keypoints"] - expected["keypoints"][:, :2]).max() / side
        return likeness if apart <= _PAIR_KEYPOINT else 0.0
    return likeness


def _near(served: Array, expected: Array, orders: Callable[[Array], list[Array]]) -> float:
    """1 - the distance of the corners as a share of the diagonal."""
    diagonal = float(np.linalg.norm(expected[0] - expected[2])) or 1.0
    return 1 - min(float(np.abs(order - expected).max()) for order in orders(served)) / diagonal


def _any_start(corners: Array) -> list[Array]:
    turns = [np.roll(corners, turn, axis=0) for turn in range(4)]
    return [*turns, *(turn[::-1] for turn in turns)]


def _box_iou(one: Array, other: Array) -> float:
    """Of boxes widened by half a pixel, so that boxes of a narrow picture have an area."""
    low, high = np.maximum(one[:2], other[:2]) - 0.5, np.minimum(one[2:], other[2:]) + 0.5
    inside = float(np.prod(np.clip(high - low, 0, None)))
    areas = [float(np.prod(box[2:] - box[:2] + 1)) for box in (one, other)]
    return inside / (sum(areas) - inside)


def _mask_iou(one: Array, other: Array) -> float:
    if one.shape != other.shape:
        raise UnlikeError(f"a mask of {one.shape}, the picture is {other.shape}")
    either = np.count_nonzero(one | other)
    return 1.0 if either == 0 else float(np.count_nonzero(one & other) / either)


def _picture(text: str) -> Array:
    with Image.open(BytesIO(b64decode(text))) as opened:
        return np.asarray(opened)


_DISTANCES: dict[str, Callable[[Predictions, Answer], float]] = {
    "image-classification": _classes,
    "depth-estimation": _depth,
    "tensor": _tensor,
}
