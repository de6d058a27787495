"""Object and face detection: boxes in the original picture's pixels, best first."""

from collections.abc import Mapping

import numpy as np

from engine.preprocessing.geometry import Frame
from engine.tasks.boxes import as_box
from engine.tasks.heads import BOX_HEADS, box_head
from engine.tasks.oriented_detection import OrientedDetection
from engine.tasks.outputs import Array, shortest
from engine.tasks.predictions import Detection, FaceDetection, Point, Prediction
from engine.tasks.task import PredictOptions, Task, label_of
from loaders.model_errors import ModelSpecError
from loaders.repository.specs.model_spec import Head, ModelSpec
from loaders.runtimes.base import Session
from loaders.tensors import Tensor


class ObjectDetection(Task):
    def __init__(self, spec: ModelSpec) -> None:
        if spec.head not in BOX_HEADS:
            raise ModelSpecError(f"object detection needs a head; there are: {', '.join((*BOX_HEADS, Head.YOLO_OBB))}")
        self._spec = spec
        self._head = box_head(spec.head, spec.activation)
        self._labels = spec.labels or (("face",) if spec.head is Head.YUNET else ())

    def check(self, session: Session) -> None:
        self._head.check(session, self._spec)

    def postprocess(self, outputs: Mapping[str, Tensor], frame: Frame, options: PredictOptions) -> list[Prediction]:
        found = self._head.detect(outputs, self._spec, frame, options)
        rows = zip(found.boxes, found.scores, found.class_ids, found.extras, strict=True)
        return [self._prediction(box, score, int(class_id), extra, frame) for box, score, class_id, extra in rows]

    def _prediction(self, box: Array, score: np.float32, class_id: int, extra: Array, frame: Frame) -> Detection:
        label = label_of(self._labels, class_id)
        if self._spec.head is Head.YUNET:
            return FaceDetection(label, class_id, shortest(score), as_box(box), _points(extra, frame))
        return Detection(label, class_id, shortest(score), as_box(box))


def _points(landmarks: Array, frame: Frame) -> tuple[Point, ...]:
    """Points in the picture's pixels, clipped to its borders, from (10,) as x, y, x, y ... in the input's pixels."""
    moved = frame.points_to_picture(landmarks.reshape(-1, 2))
    return tuple((round(float(x), 2), round(float(y), 2)) for x, y in moved)


def object_detection(spec: ModelSpec) -> Task:
    """Raises ModelSpecError if the spec has no head with boxes."""
    return OrientedDetection(spec) if spec.head is Head.YOLO_OBB else ObjectDetection(spec)
