"""Keypoint detection: objects with named points, such as the joints of a person, best first."""

from collections.abc import Mapping
from itertools import starmap

import numpy as np

from engine.preprocessing.geometry import Frame
from engine.tasks.box_head import BoxHead
from engine.tasks.boxes import as_box
from engine.tasks.heads import BOX_HEADS, is_end_to_end, yolo_with_values
from engine.tasks.outputs import Array, find_outputs, read_outputs, shortest
from engine.tasks.predictions import Keypoint, Prediction
from engine.tasks.predictions import KeypointDetection as Found
from engine.tasks.task import PredictOptions, Task, label_of
from loaders.model_errors import ModelSpecError
from loaders.repository.specs.model_spec import Head, ModelSpec
from loaders.runtimes.base import Session
from loaders.tensors import Tensor

_ROWS = (3,)  # ranks: one output


class KeypointDetection(Task):
    """YOLO's boxes with x, y and mostly a score of each keypoint, with or without NMS in the graph."""

    def __init__(self, spec: ModelSpec) -> None:
        if spec.head is not Head.YOLO_POSE:
            raise ModelSpecError(f'keypoint detection needs head = "{Head.YOLO_POSE}"')
        self._spec = spec
        self._count, self._size = spec.keypoint_shape
        self._head = yolo_with_values(self._count * self._size)
        self._names = spec.keypoint_names or tuple(str(i) for i in range(self._count))

    def check(self, session: Session) -> None:
        (output,) = find_outputs(session, self._spec.outputs, _ROWS)
        self._head_of(output.shape).check(session, self._spec)

    def postprocess(self, outputs: Mapping[str, Tensor], frame: Frame, options: PredictOptions) -> list[Prediction]:
        (rows,) = read_outputs(outputs, self._spec.outputs, _ROWS)
        found = self._head_of(rows.shape).detect(outputs, self._spec, frame, options)
        points = found.extras.reshape(len(found), self._count, self._size)
        points = np.concatenate([frame.points_to_picture(points[..., :2]), points[..., 2:]], axis=2)
        return list(starmap(self._prediction, zip(found.boxes, found.scores, found.class_ids, points, strict=True)))

    def _head_of(self, shape: tuple[int | None, ...]) -> BoxHead:
        if is_end_to_end(shape, self._count * self._size):
            return BOX_HEADS[Head.END_TO_END]
        return self._head

    def _prediction(self, box: Array, score: np.float32, class_id: np.int32, points: Array) -> Found:
        label = label_of(self._spec.labels, int(class_id))
        keypoints = tuple(starmap(_keypoint, zip(self._names, points, strict=True)))
        return Found(label, int(class_id), shortest(score), as_box(box), keypoints, self._spec.skeleton)


def _keypoint(name: str, point: Array) -> Keypoint:
    score = shortest(point[2]) if len(point) > 2 else None
    return Keypoint(name, round(float(point[0]), 2), round(float(point[1]), 2), score)
