"""Compares predictions, and the tensors between the stages, with those that a framework gave.

A difference is 0 for equal and 1 for unrelated answers:

| value | difference |
|---|---|
| score | absolute |
| box, points | largest shift of an edge or a point, relative to the longer side of the picture |
| mask, depth | mean absolute difference over a grid of the picture; 0 if the digests are equal |
| text | 0 if it is the same, else 1 |
| embedding | length of the difference of the vectors, relative to the framework's |
| raw output | mean absolute difference of the sampled values, relative to their spread |

A box that only one side has differs by how far its score lies above the threshold; a segment, by its coverage.
"""

import hashlib
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import zip_longest
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from engine.tasks.masks import from_png
from engine.tasks.predictions import Box, Classification, Detection, Prediction, Segment
from loaders.images.base import Size
from loaders.repository.samples import ExpectedPrediction, MapSummary, TensorSummary
from loaders.tensors import Tensor

Floats = NDArray[np.float64]
_Labelled = Classification | Detection | Segment
_MISSING = 1.0
_CORNERS = 4
_16_TO_8_BITS = 257


@dataclass(frozen=True, slots=True, order=True)
class Difference:
    """`text` names the value on both sides. Differences are ordered by size."""

    size: float
    text: str = field(default="", compare=False)


SAME = Difference(0.0)


def prediction_difference(
    expected: Sequence[ExpectedPrediction], found: Sequence[Prediction], picture: Size, threshold: float
) -> Difference:
    """Returns the largest difference. `threshold`: the minimum score of boxes on both sides."""
    if any(isinstance(prediction, Classification) for prediction in found):
        return max(_class_differences(expected, found), default=SAME)
    if not any(isinstance(prediction, Detection | Segment) for prediction in found) and any(map(_is_whole, expected)):
        return max(_whole_difference(one, other) for one, other in zip_longest(expected, found))
    return max(_object_differences(expected, found, picture, threshold), default=SAME)


def tensor_difference(expected: TensorSummary, found: Tensor) -> Difference:
    """The sampled values' mean absolute difference, relative to the spread of those expected."""
    if tuple(expected.shape) != found.shape:
        return Difference(_MISSING, f"its shape is {_shape(found.shape)}, the framework's {_shape(expected.shape)}")
    values = np.asarray(expected.values, np.float64)
    ours = found.reshape(-1)[np.linspace(0, found.size - 1, len(values)).astype(np.int64)].astype(np.float64)
    apart = float(np.abs(ours - values).mean() / (values.std() or 1.0))
    return Difference(apart, f"its values differ by {apart:.3g} of their spread")


def map_difference(expected: MapSummary, found: NDArray[np.uint8]) -> float:
    """`found`: (height, width)."""
    if expected.sha256 == hashlib.sha256(found.tobytes()).hexdigest():
        return 0.0
    if not expected.grid:
        return abs(expected.coverage - float(found.mean()) / 255)
    grid = np.asarray(expected.grid, np.float64)
    picture = Image.fromarray(found.astype(np.float32))
    ours = np.asarray(picture.resize(grid.shape[::-1], Image.Resampling.BOX), np.float64) / 255
    return float(np.abs(ours - grid).mean())


def _class_differences(expected: Sequence[ExpectedPrediction], found: Sequence[Prediction]) -> Iterator[Difference]:
    """`found` has all classes, best first. Classes that the framework does not name score no higher than its last."""
    ours = [prediction for prediction in found if isinstance(prediction, Classification)]
    named: set[int] = set()
    for one in expected:
        same = next((prediction for prediction in ours if _same_class(one, prediction)), None)
        if same is None:
            yield Difference(_MISSING, f"there is no class {one.title}")
            continue
        named.add(same.class_id)
        yield _score_difference(one, same.score)
    lowest = min((one.score for one in expected if one.score is not None), default=0.0)
    other = next((prediction for prediction in ours if prediction.class_id not in named), None)
    if other and other.score > lowest:
        text = f"the score of {other.label!r} is {other.score:.4f}, the framework names no class above {lowest:.4f}"
        yield Difference(other.score - lowest, text)


def _object_differences(
    expected: Sequence[ExpectedPrediction], found: Sequence[Prediction], picture: Size, threshold: float
) -> Iterator[Difference]:
    """Each expected object is compared with the nearest one of its class that is left."""
    left = [prediction for prediction in found if isinstance(prediction, Detection | Segment)]
    for one in expected:
        pairs = [(_place_difference(one, other, picture), i) for i, other in enumerate(left) if _same_class(one, other)]
        nearest, index = min(pairs, default=(Difference(_MISSING), -1))
        if nearest.size < _MISSING:
            other = left.pop(index)
            yield from (nearest, _score_difference(one, other.score), _point_difference(one, other, picture))
            yield _mask_difference(one, other)
        else:
            yield Difference(_weight(one, threshold), f"{one.title} was not found{_with_score(one.score)}")
    for other in left:
        yield Difference(_surplus(other, threshold), f"found {other.label!r}{_with_score(other.score)}, not expected")


def _place_difference(expected: ExpectedPrediction, found: Detection | Segment, picture: Size) -> Difference:
    """Of the boxes, of the masks without boxes. _MISSING for boxes that do not touch."""
    theirs, ours = expected.box, getattr(found, "box", None)
    if theirs is None or not isinstance(ours, Box):
        return _mask_difference(expected, found)
    left, right = max(theirs.xmin, ours.xmin), min(theirs.xmax, ours.xmax)
    top, bottom = max(theirs.ymin, ours.ymin), min(theirs.ymax, ours.ymax)
    if left >= right or top >= bottom:
        return Difference(_MISSING)
    edges = ((theirs.xmin, ours.xmin), (theirs.ymin, ours.ymin), (theirs.xmax, ours.xmax), (theirs.ymax, ours.ymax))
    shift = max(abs(a - b) for a, b in edges)
    text = f"the box of {expected.title} is shifted by {shift:.1f} pixels"
    return Difference(shift / max(picture.width, picture.height), text)


def _mask_difference(expected: ExpectedPrediction, found: Detection | Segment) -> Difference:
    if expected.mask is None or not isinstance(found, Segment):
        return SAME
    size = map_difference(expected.mask, decode_map(found.mask))
    return Difference(size, f"the mask of {expected.title} differs by {size:.4f} of the picture")


def _point_difference(expected: ExpectedPrediction, found: Prediction, picture: Size) -> Difference:
    if not expected.points:
        return SAME
    shift = _point_shift(np.asarray(expected.points), points_of(found))
    text = f"a point of {expected.title} is shifted by {shift:.1f} pixels"
    return Difference(shift / max(picture.width, picture.height), text)


def points_of(found: Prediction) -> Floats:
    """Keypoints, corners or landmarks, (P, 2), by the name of the prediction's field."""
    keypoints: Sequence[Any] = getattr(found, "keypoints", ())
    if keypoints:
        return np.asarray([(point.x, point.y) for point in keypoints], np.float64)
    return np.asarray(getattr(found, "corners", getattr(found, "landmarks", [])), np.float64)


def _point_shift(theirs: Floats, ours: Floats) -> float:
    """The largest shift; four corners may begin with any of them."""
    if theirs.shape != ours.shape:
        return math.inf
    turns = [np.roll(ours[::way], turn, axis=0) for way in (1, -1) for turn in range(len(ours))]
    orders = turns if len(ours) == _CORNERS else [ours]
    return min(float(np.linalg.norm(order - theirs, axis=1).max()) for order in orders)


def _is_whole(expected: ExpectedPrediction) -> bool:
    """Whether it is about the picture as a whole."""
    return bool(expected.embedding or expected.depth or expected.generated_text is not None)


def _whole_difference(expected: ExpectedPrediction | None, found: Prediction | None) -> Difference:
    """The predictions are found by the names of their fields."""
    vector, depth, text = (getattr(found, name, None) for name in ("embedding", "depth", "generated_text"))
    if expected and expected.embedding and isinstance(vector, list):
        return _vector_difference(expected.embedding, vector)
    if expected and expected.depth and isinstance(depth, str):
        size = map_difference(expected.depth, decode_map(depth))
        return Difference(size, f"the depth differs by {size:.4f} of its range")
    if expected and expected.generated_text is not None and isinstance(text, str):
        same = text == expected.generated_text
        return (
            SAME if same else Difference(_MISSING, f"the text is {text!r}, the framework's {expected.generated_text!r}")
        )
    return Difference(_MISSING, f"the framework's answer is of another kind than {type(found).__name__}")


def _vector_difference(expected: Sequence[float], found: Sequence[float]) -> Difference:
    theirs, ours = np.asarray(expected), np.asarray(found)
    if theirs.shape != ours.shape:
        return Difference(_MISSING, f"the vector has {len(ours)} numbers, the framework's {len(theirs)}")
    size = float(np.linalg.norm(ours - theirs) / (np.linalg.norm(theirs) or 1.0))
    return Difference(size, f"the vector differs by {size:.4f} of its length")


def _score_difference(expected: ExpectedPrediction, score: float | None) -> Difference:
    if expected.score is None or score is None:
        return SAME
    text = f"the score of {expected.title} is {score:.4f}, the framework's is {expected.score:.4f}"
    return Difference(abs(expected.score - score), text)


def _same_class(expected: ExpectedPrediction, found: _Labelled) -> bool:
    return found.label == expected.label if expected.class_id is None else found.class_id == expected.class_id


def _weight(expected: ExpectedPrediction, threshold: float) -> float:
    if expected.score is None:
        return expected.mask.coverage if expected.mask else _MISSING
    return max(0.0, expected.score - threshold)


def _surplus(found: Detection | Segment, threshold: float) -> float:
    if found.score is None:
        return float(decode_map(found.mask).mean()) / 255 if isinstance(found, Segment) else _MISSING
    return max(0.0, found.score - threshold)


def decode_map(png: str) -> NDArray[np.uint8]:
    """A mask, or a depth of 16 bits, as 8 bits."""
    pixels = from_png(png)
    return pixels.astype(np.uint8) if pixels.dtype == np.uint8 else np.rint(pixels / _16_TO_8_BITS).astype(np.uint8)


def _with_score(score: float | None) -> str:
    return "" if score is None else f" (score {score:.4f})"


def _shape(shape: Sequence[int]) -> str:
    return " x ".join(map(str, shape))
