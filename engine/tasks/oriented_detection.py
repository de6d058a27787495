"""Detection of rotated boxes: their corners in the original picture's pixels, best first."""

from collections.abc import Mapping
from itertools import starmap

import numpy as np

from engine.preprocessing.geometry import Frame
from engine.tasks.boxes import DEFAULT_BOXES, Candidates, as_box, best_classes, by_score, clip, with_area
from engine.tasks.heads import end_to_end, is_end_to_end
from engine.tasks.oriented_boxes import rotated_corners, suppress_rotated
from engine.tasks.outputs import Array, check_finite, check_labels, find_outputs, read_outputs, shortest
from engine.tasks.predictions import OrientedDetection as Found
from engine.tasks.predictions import Prediction
from engine.tasks.task import InvalidOutputError, PredictOptions, Task, label_of
from loaders.model_errors import ModelSpecError
from loaders.repository.specs.model_spec import ModelSpec
from loaders.runtimes.base import Session
from loaders.tensors import Tensor

_ROWS = (3,)  # ranks: one output
_FURTHER = 5  # values of a box beside its class scores: centre, size, angle


class OrientedDetection(Task):
    """Ultralytics' OBB models, with or without NMS in the graph."""

    def __init__(self, spec: ModelSpec) -> None:
        self._spec = spec

    def check(self, session: Session) -> None:
        (output,) = find_outputs(session, self._spec.outputs, _ROWS)
        columns = output.shape[1] if output.shape else None
        if is_end_to_end(output.shape, 1) or columns is None:
            return
        if columns <= _FURTHER:
            raise ModelSpecError(
                f"the output {output.name} of the shape {output.shape} has no classes in the layout {self._spec.head}"
            )
        check_labels(self._spec.labels, columns - _FURTHER)

    def postprocess(self, outputs: Mapping[str, Tensor], frame: Frame, options: PredictOptions) -> list[Prediction]:
        (output,) = read_outputs(outputs, self._spec.outputs, _ROWS)
        threshold = self._spec.score_threshold if options.threshold is None else options.threshold
        with np.errstate(over="ignore", invalid="ignore"):  # the values are checked
            found = self._decode(output, frame, threshold)
            if not is_end_to_end(output.shape, 1):
                found = suppress_rotated(found, self._spec.iou_threshold)
            found = _in_picture(found, frame)
            corners = rotated_corners(found.boxes, found.extras)
            check_finite(corners)
        found = clip(Candidates(_enclosing(corners), found.scores, found.class_ids, _extras(corners, found)), frame)
        found = by_score(with_area(found), DEFAULT_BOXES if options.top_k is None else options.top_k)
        rows = zip(found.boxes, found.scores, found.class_ids, found.extras, strict=True)
        return list(starmap(self._prediction, rows))

    def _decode(self, output: Array, frame: Frame, threshold: float) -> Candidates:
        """`boxes` (B, 4): centre x, centre y, width, height in the input's pixels; `extras` (B, 1): the angle."""
        if is_end_to_end(output.shape, 1):
            found = end_to_end([output], frame.target, threshold)
        elif output.shape[1] > _FURTHER:
            columns = output[0]
            found = best_classes(columns[:4].T, columns[4:-1].T, threshold, columns[-1:].T)
        else:
            raise InvalidOutputError(
                f"an output of the shape {output.shape} does not have the layout {self._spec.head}"
            )
        return found.take(np.flatnonzero((found.boxes[:, 2] > 0) & (found.boxes[:, 3] > 0)))

    def _prediction(self, box: Array, score: np.float32, class_id: np.int32, extras: Array) -> Found:
        label = label_of(self._spec.labels, int(class_id))
        corners = tuple((round(float(x), 2), round(float(y), 2)) for x, y in extras[1:].reshape(4, 2))
        return Found(label, int(class_id), shortest(score), as_box(box), corners, round(float(extras[0]), 6))


def _in_picture(found: Candidates, frame: Frame) -> Candidates:
    """Moves centres and scales sizes to the picture's pixels, without clipping. The angle stays."""
    place, picture = frame.placement, frame.picture
    scale = np.array([picture.width / place.resized.width, picture.height / place.resized.height] * 2, np.float32)
    boxes = (found.boxes - np.array([place.left, place.top, 0, 0], np.float32)) * scale
    return Candidates(boxes, found.scores, found.class_ids, found.extras)


def _enclosing(corners: Array) -> Array:
    return np.concatenate([corners.min(axis=1), corners.max(axis=1)], axis=1)


def _extras(corners: Array, found: Candidates) -> Array:
    """(B, 9): the angle and the four corners."""
    return np.concatenate([found.extras, corners.reshape(-1, 8)], axis=1)
