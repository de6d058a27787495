"""Measures how much the predictions of two models agree on a picture, from 0 to 1 (equal), by task."""

from collections.abc import Callable, Sequence
from statistics import fmean

import numpy as np
from numpy.typing import NDArray

from engine.tasks.masks import from_png
from engine.tasks.predictions import (
    Classification,
    DepthMap,
    Detection,
    Embedding,
    GeneratedText,
    OutputTensor,
    Prediction,
    Segment,
    iou,
)
from loaders.repository.specs.model_spec import TaskName

Predictions = Sequence[Prediction]
Measures = dict[str, float]

_SAME_OBJECT_IOU = 0.5
_SUBJECT = 128  # level of a matte from which a pixel belongs to the subject

# The most important measure of each task.
MAIN_MEASURE = {
    TaskName.IMAGE_CLASSIFICATION: "same_top1",
    TaskName.OBJECT_DETECTION: "objects_found_again",
    TaskName.IMAGE_SEGMENTATION: "mask_iou",
    TaskName.IMAGE_FEATURE_EXTRACTION: "cosine",
    TaskName.KEYPOINT_DETECTION: "objects_found_again",
    TaskName.DEPTH_ESTIMATION: "cosine",
    TaskName.IMAGE_TO_TEXT: "same_text",
    TaskName.TENSOR: "cosine",
}


def compare(task: TaskName, old: Predictions, new: Predictions) -> Measures:
    """The measures of one picture. A measure that does not apply is left out."""
    return _COMPARE[task](old, new)


def summarise(pictures: Sequence[Measures]) -> Measures:
    """The measures of all pictures: means; the maximum of `largest_*`, the minimum of `least_*`."""
    names = dict.fromkeys(name for measures in pictures for name in measures)
    return {name: round(_aggregate(name)([m[name] for m in pictures if name in m]), 6) for name in names}


def _aggregate(name: str) -> Callable[[list[float]], float]:
    if name.startswith("largest_"):
        return max
    return min if name.startswith("least_") else fmean


def _labels(old: Predictions, new: Predictions) -> Measures:
    before, after = ({p.class_id: p.score for p in some if isinstance(p, Classification)} for some in (old, new))
    top = [max(scores, key=scores.__getitem__, default=-1) for scores in (before, after)]
    changes = [abs(score - after.get(class_id, 0.0)) for class_id, score in before.items()]
    return {"same_top1": float(top[0] == top[1]), "largest_score_change": max(changes, default=0.0)}


def _boxes(old: Predictions, new: Predictions) -> Measures:
    """An object is matched with the best unmatched box of its class that has an IoU of at least 0.5."""
    before, left = ([p for p in some if isinstance(p, Detection)] for some in (old, new))
    after, ious, changes = len(left), [], []
    for known in before:
        same = [(iou(known.box, found.box), i) for i, found in enumerate(left) if found.class_id == known.class_id]
        overlap, i = max(same, default=(0.0, -1))
        if overlap >= _SAME_OBJECT_IOU:
            ious.append(overlap)
            changes.append(abs(known.score - left.pop(i).score))
    measures = {"objects_found_again": len(ious) / len(before)} if before else {}
    measures |= {"objects_that_are_new": len(left) / after} if after else {}
    return measures | ({"box_iou": fmean(ious), "largest_score_change": max(changes)} if ious else {})


def _masks(old: Predictions, new: Predictions) -> Measures:
    """Compares masks by label. The overlap is 0 if only one model has the label."""
    before, after = _masks_by_label(old), _masks_by_label(new)
    overlaps, differences = [], []
    for label in before | after:
        one, other = before.get(label), after.get(label)
        if one is None or other is None:
            overlaps.append(0.0)
            continue
        differences.append(float(np.abs(one.astype(np.int16) - other).mean()) / 255)
        union = ((one >= _SUBJECT) | (other >= _SUBJECT)).sum()
        overlaps.append(float(((one >= _SUBJECT) & (other >= _SUBJECT)).sum() / union) if union else 1.0)
    measures = {"mask_iou": fmean(overlaps), "least_mask_iou": min(overlaps)} if overlaps else {}
    return measures | ({"mean_mask_difference": fmean(differences)} if differences else {})


def _masks_by_label(predictions: Predictions) -> dict[str, NDArray[np.uint8]]:
    masks: dict[str, NDArray[np.uint8]] = {}
    for segment in predictions:
        if isinstance(segment, Segment):
            masks[segment.label] = np.maximum(masks.get(segment.label, np.uint8(0)), from_png(segment.mask))
    return masks


def _vectors(old: Predictions, new: Predictions) -> Measures:
    cosines = [_cosine(_values(a), _values(b)) for a, b in zip(old, new, strict=True)]
    return {"cosine": fmean(cosines), "least_cosine": min(cosines)} if cosines else {}


def _values(prediction: Prediction) -> NDArray[np.float64]:
    match prediction:
        case Embedding(embedding=data) | OutputTensor(data=data):
            return np.asarray(data, np.float64)
        case DepthMap(depth=image, minimum=minimum, maximum=maximum):
            levels = from_png(image).astype(np.float64) / 65535
            return minimum + levels.reshape(-1) * (maximum - minimum)
        case _:
            return np.empty(0)


def _texts(old: Predictions, new: Predictions) -> Measures:
    before, after = ([p.generated_text for p in some if isinstance(p, GeneratedText)] for some in (old, new))
    return {"same_text": float(before == after)}


def _cosine(one: NDArray[np.float64], other: NDArray[np.float64]) -> float:
    """1 for two zero vectors, 0 for different lengths."""
    if one.shape != other.shape:
        return 0.0
    lengths = float(np.linalg.norm(one) * np.linalg.norm(other))
    return float(one @ other) / lengths if lengths else float(np.array_equal(one, other))


_COMPARE: dict[TaskName, Callable[[Predictions, Predictions], Measures]] = {
    TaskName.IMAGE_CLASSIFICATION: _labels,
    TaskName.OBJECT_DETECTION: _boxes,
    TaskName.IMAGE_SEGMENTATION: _masks,
    TaskName.IMAGE_FEATURE_EXTRACTION: _vectors,
    TaskName.KEYPOINT_DETECTION: _boxes,
    TaskName.DEPTH_ESTIMATION: _vectors,
    TaskName.IMAGE_TO_TEXT: _texts,
    TaskName.TENSOR: _vectors,
}
