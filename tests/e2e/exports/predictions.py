"""Served predictions in the form of a framework's answer."""

from base64 import b64decode
from collections.abc import Callable, Mapping
from io import BytesIO
from typing import Any

import numpy as np
from PIL import Image

from tests.e2e.exports.case import Answer, Array, Case

Predictions = list[dict[str, Any]]


class UnlikeError(AssertionError):
    """The served answer has another form than the framework's."""


def read_predictions(case: Case, predictions: Predictions, answer: Answer) -> Answer:
    """`answer`: the framework's, of which shapes and labels are taken. Raises UnlikeError."""
    reader = _READERS.get(case.task) or (_segments if "classes" in answer else _objects)
    try:
        return reader(predictions, answer)
    except KeyError as error:
        raise UnlikeError(f"a prediction has no {error}: {str(predictions)[:200]}") from error


def _scores(predictions: Predictions, answer: Answer) -> Answer:
    """Labels are compared by number where the framework has none."""
    scores = np.zeros(answer["scores"].shape)
    for found in predictions:
        if "labels" in answer:
            _check_label(found, answer)
        scores[found["class_id"]] = found["score"]
    return {"scores": scores}


def _vector(predictions: Predictions, answer: Answer) -> Answer:
    return _alike({"vector": np.array(predictions[0]["embedding"], np.float64)}, answer)


def _depth(predictions: Predictions, answer: Answer) -> Answer:
    """A 16-bit PNG: 0 is `minimum`, 65535 is `maximum`."""
    found = predictions[0]
    low, high = found["minimum"], found["maximum"]
    return _alike({"depth": low + _picture(found["depth"]).astype(np.float64) / 65535 * (high - low)}, answer)


def _tensor(predictions: Predictions, answer: Answer) -> Answer:
    found = predictions[0]
    return _alike({"tensor": np.array(found["data"], np.float64).reshape(found["shape"])}, answer)


def _segments(predictions: Predictions, answer: Answer) -> Answer:
    classes = np.full(answer["classes"].shape, -1, np.int32)
    for found in predictions:
        _check_label(found, answer)
        classes[_mask(found, classes.shape)] = found["class_id"]
    return {"classes": classes}


def _objects(predictions: Predictions, answer: Answer) -> Answer:
    """With the arrays that the framework's objects have."""
    values: dict[str, list[Any]] = {name: [] for name in answer}
    for found in predictions:
        for name, column in values.items():
            column.append(_VALUES[name](found) if name != "masks" else _mask(found, answer["masks"].shape[1:]))
    return {name: np.array(column).reshape(-1, *answer[name].shape[1:]) for name, column in values.items()}


def _alike(found: Answer, answer: Answer) -> Answer:
    for name, array in found.items():
        if array.shape != answer[name].shape:
            raise UnlikeError(f"shape {array.shape}, the framework has {answer[name].shape}")
    return found


def _check_label(found: dict[str, Any], answer: Answer) -> None:
    if found["label"] != str(answer["labels"][found["class_id"]]):
        raise UnlikeError(f"class {found['class_id']} is labelled {found['label']!r}")


def _mask(found: dict[str, Any], shape: tuple[int, ...]) -> Array:
    mask = _picture(found["mask"]) > 127
    if mask.shape != shape:
        raise UnlikeError(f"a mask of {mask.shape}, the picture is {shape}")
    return mask


def _keypoints(found: dict[str, Any]) -> list[tuple[float, float, float]]:
    return [(point["x"], point["y"], point["score"]) for point in found["keypoints"]]


def _picture(text: str) -> Array:
    with Image.open(BytesIO(b64decode(text))) as opened:
        return np.asarray(opened)


_VALUES: Mapping[str, Callable[[dict[str, Any]], Any]] = {
    "boxes": lambda found: [found["box"][side] for side in ("xmin", "ymin", "xmax", "ymax")],
    "corners": lambda found: found["corners"],
    "keypoints": _keypoints,
    "labels": lambda found: found["label"],
    "scores": lambda found: 1.0 if found["score"] is None else found["score"],
}
_READERS: Mapping[str, Callable[[Predictions, Answer], Answer]] = {
    "image-classification": _scores,
    "image-feature-extraction": _vector,
    "depth-estimation": _depth,
    "tensor": _tensor,
}
