"""How far the answers of another runtime or precision are from the reference's, from 0 to 1.

| task | difference |
|---|---|
| classification | the largest of a class's score; 1 if another class comes first |
| detection, keypoints, segmentation, text | that of engine/models/sample_differences.py |
| others | the largest of an output's values, relative to the largest of them |
"""

import hashlib
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from engine.models.loaded_model import LoadedModel
from engine.models.sample_differences import decode_map, points_of, prediction_difference
from engine.preprocessing.geometry import Frame
from engine.tasks.predictions import Box, Classification, GeneratedText, Prediction
from engine.tasks.task import InvalidOutputError, PredictOptions
from loaders.repository.samples import ExpectedBox, ExpectedPrediction, MapSummary
from loaders.repository.specs.model_spec import TaskName
from loaders.tensors import Tensor

_ALL = 1_000_000
_GRID = (16, 16)
_BY_OUTPUTS = (TaskName.IMAGE_FEATURE_EXTRACTION, TaskName.DEPTH_ESTIMATION, TaskName.TENSOR)


Outputs = Mapping[str, Tensor]


def answer_difference(
    reference: LoadedModel, other: LoadedModel, outputs: tuple[Outputs, Outputs], frame: Frame
) -> float | None:
    """`outputs`: of both, for one picture. Returns None without an answer to compare: neither found an object."""
    spec = reference.spec
    if spec.task in _BY_OUTPUTS:
        return output_difference(*outputs)
    options = PredictOptions(_ALL, 0.0 if spec.task is TaskName.IMAGE_CLASSIFICATION else None)
    try:
        expected = _not_empty(reference.task.postprocess(outputs[0], frame, options))
        found = _not_empty(other.task.postprocess(outputs[1], frame, options))
    except InvalidOutputError:
        return 1.0
    if spec.task is TaskName.IMAGE_CLASSIFICATION:
        return _class_difference(expected, found)
    if not expected and not found:
        return None
    return prediction_difference([_expected(one) for one in expected], found, frame.picture, spec.score_threshold).size


def output_difference(expected: Outputs, found: Outputs) -> float:
    """Returns the largest difference of a value, relative to the largest value of its output."""
    return max((_tensor_difference(expected[name], found[name]) for name in expected), default=0.0)


def _class_difference(expected: Sequence[Prediction], found: Sequence[Prediction]) -> float:
    scores, others = (
        {prediction.class_id: prediction.score for prediction in answer if isinstance(prediction, Classification)}
        for answer in (expected, found)
    )
    if next(iter(scores)) != next(iter(others), None):
        return 1.0
    return max(abs(score - others.get(class_id, 0.0)) for class_id, score in scores.items())


def _not_empty(answer: Sequence[Prediction]) -> list[Prediction]:
    """Without texts that have no character."""
    return [one for one in answer if not isinstance(one, GeneratedText) or one.generated_text]


def _expected(prediction: Prediction) -> ExpectedPrediction:
    """The reference's prediction as one that a framework gave."""
    box, mask = getattr(prediction, "box", None), getattr(prediction, "mask", None)
    return ExpectedPrediction(
        class_id=getattr(prediction, "class_id", None),
        score=getattr(prediction, "score", None),
        box=ExpectedBox(xmin=box.xmin, ymin=box.ymin, xmax=box.xmax, ymax=box.ymax) if isinstance(box, Box) else None,
        points=tuple((float(x), float(y)) for x, y in points_of(prediction)),
        mask=_summary(decode_map(mask)) if isinstance(mask, str) else None,
        generated_text=getattr(prediction, "generated_text", None),
    )


def _summary(mask: NDArray[np.uint8]) -> MapSummary:
    cells = Image.fromarray(mask.astype(np.float32)).resize(_GRID, Image.Resampling.BOX)
    grid = tuple(tuple(row) for row in (np.asarray(cells, np.float64) / 255).tolist())
    digest = hashlib.sha256(mask.tobytes()).hexdigest()
    return MapSummary(coverage=float(mask.mean()) / 255, grid=grid, sha256=digest)


def _tensor_difference(expected: Tensor, found: Tensor) -> float:
    if expected.shape != found.shape:
        return 1.0
    if np.array_equal(expected, found, equal_nan=expected.dtype.kind == "f"):
        return 0.0
    one, other = expected.astype(np.float64), found.astype(np.float64)
    apart = float(np.abs(one - other).max() / (np.abs(one).max() or 1.0))
    return apart if np.isfinite(apart) else 1.0
