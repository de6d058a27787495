"""Image segmentation: semantic and instance masks and mattes, one class a head."""

from collections.abc import Callable, Mapping

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from engine.preprocessing.geometry import Frame
from engine.tasks.activations import sigmoid
from engine.tasks.boxes import as_box
from engine.tasks.class_maps import class_map, segments_by_class
from engine.tasks.heads import YOLO_MASKS, YOLO_MASKS_END_TO_END
from engine.tasks.masks import (
    bilinear_part,
    box_region,
    computed_size,
    interpolate,
    on_picture,
    png,
    resample,
    visible_region,
)
from engine.tasks.outputs import (
    Array,
    check_finite,
    check_labels,
    find_output,
    find_outputs,
    is_plane,
    read_outputs,
    shortest,
)
from engine.tasks.predictions import InstanceSegment, Prediction, Segment
from engine.tasks.query_segmentation import QuerySegmentation
from engine.tasks.task import InvalidOutputError, PredictOptions, Task, label_of
from loaders.model_errors import ModelSpecError
from loaders.repository.specs.model_spec import Activation, Head, ModelSpec
from loaders.runtimes.base import Session
from loaders.tensors import Tensor

_MAX_CLASS = np.iinfo(np.int16).max
_MAP = (4,)  # ranks: one output (N, C, h, w)


class SemanticSegmentation(Task):
    """Best class of each pixel; one segment for each class found, the largest first.

    As in Hugging Face's `post_process_semantic_segmentation`, logits are resized to the picture, then compared. A
    single class is compared with 0, the logit of even odds. Pixels that a crop has cut off belong to no segment.
    """

    def __init__(self, spec: ModelSpec) -> None:
        self._spec = spec

    def check(self, session: Session) -> None:
        (output,) = find_outputs(session, self._spec.outputs, _MAP)
        check_labels(self._spec.labels, output.shape[1] if output.shape else None)

    def postprocess(self, outputs: Mapping[str, Tensor], frame: Frame, options: PredictOptions) -> list[Prediction]:
        (logits,) = read_outputs(outputs, self._spec.outputs, _MAP)
        return segments_by_class(class_map(logits[0], frame, bilinear_part), self._spec.labels, frame, options)


class ClassMapSegmentation(Task):
    """A graph that returns the best class of each pixel: repeated at the picture's size, as Ultralytics does."""

    def __init__(self, spec: ModelSpec) -> None:
        self._spec = spec

    def check(self, session: Session) -> None:
        output = find_output(session, self._spec.outputs)
        if output.shape and not is_plane(output.shape):
            raise ModelSpecError(
                f"a class map is (N, h, w) or (N, 1, h, w), the output {output.name} is {output.shape}"
            )

    def postprocess(self, outputs: Mapping[str, Tensor], frame: Frame, options: PredictOptions) -> list[Prediction]:
        output = outputs[self._spec.outputs[0]] if self._spec.outputs else next(iter(outputs.values()))
        if not is_plane(output.shape):
            raise InvalidOutputError(f"the model's output of the shape {output.shape} is not a class map")
        check_finite(output)
        first = 1 if len(self._spec.labels) == 1 else 0
        plane = (output.reshape(output.shape[-2:]) - np.float32(first)).clip(-1, _MAX_CLASS).astype(np.int16)
        region = visible_region(frame)
        classes = interpolate(plane, frame, region, computed_size(region), cv2.INTER_NEAREST)
        return segments_by_class(classes, self._spec.labels, frame, options)


class InstanceSegmentation(Task):
    """Masks of YOLO: coefficients times prototypes, clipped to the box, above even odds."""

    def __init__(self, spec: ModelSpec) -> None:
        self._spec = spec

    def check(self, session: Session) -> None:
        shapes = [output.shape for output in find_outputs(session, self._spec.outputs, YOLO_MASKS.ranks)]
        rows, prototypes = (shape[1] if shape else None for shape in shapes)
        if rows is None or prototypes is None or shapes[0][2] == 6 + prototypes:
            return
        YOLO_MASKS.check(session, self._spec)

    def postprocess(self, outputs: Mapping[str, Tensor], frame: Frame, options: PredictOptions) -> list[Prediction]:
        rows, prototypes = read_outputs(outputs, self._spec.outputs, YOLO_MASKS.ranks)
        head = YOLO_MASKS_END_TO_END if rows.shape[2] == 6 + prototypes.shape[1] else YOLO_MASKS
        found = head.detect(outputs, self._spec, frame, options)
        with np.errstate(over="ignore", invalid="ignore"):
            maps = np.tensordot(found.extras, prototypes[0], axes=1)
        check_finite(maps)
        each = zip(found.boxes, found.scores, found.class_ids, maps, strict=True)
        segments = (self._segment(box, score, int(class_id), logits, frame) for box, score, class_id, logits in each)
        return [segment for segment in segments if segment is not None]

    def _segment(
        self, box: Array, score: np.float32, class_id: int, logits: Array, frame: Frame
    ) -> InstanceSegment | None:
        """None if the mask is empty, as in Ultralytics."""
        region = box_region(box, frame)
        if region is None:
            return None
        inside = bilinear_part(logits, frame, region, computed_size(region)) > 0
        if not inside.any():
            return None
        mask = on_picture(inside.astype(np.uint8) * np.uint8(255), region, frame.picture)
        label = label_of(self._spec.labels, class_id)
        return InstanceSegment(label, class_id, shortest(score), png(mask), as_box(box))


class Matting(Task):
    """One mask with soft edges: scaled to 0..255 and resized by Lanczos, as in rembg."""

    def __init__(self, spec: ModelSpec) -> None:
        self._spec = spec
        self._label = spec.labels[0] if spec.labels else "foreground"

    def check(self, session: Session) -> None:
        (output,) = find_outputs(session, self._spec.outputs, _MAP)
        if output.shape and output.shape[1] not in (1, None):
            raise ModelSpecError(f"a matte has one channel, the output {output.name} has {output.shape[1]}")

    def postprocess(
        self,
        outputs: Mapping[str, Tensor],
        frame: Frame,
        options: PredictOptions,  # noqa: ARG002 - there is a single mask without a score
    ) -> list[Prediction]:
        (maps,) = read_outputs(outputs, self._spec.outputs, _MAP)
        matte = sigmoid(maps[0, 0]) if self._spec.activation is Activation.SIGMOID else maps[0, 0]
        region = visible_region(frame)
        grey = resample(_to_uint8(matte), frame, region, region.size, Image.Resampling.LANCZOS)
        return [Segment(self._label, 0, None, png(on_picture(grey, region, frame.picture)))]


def image_segmentation(spec: ModelSpec) -> Task:
    """Raises ModelSpecError if the spec has no head with masks."""
    if spec.head not in _HEADS:
        raise ModelSpecError(f"image segmentation needs a head; there are: {', '.join(_HEADS)}")
    return _HEADS[spec.head](spec)


def _to_uint8(matte: Array) -> NDArray[np.uint8]:
    """Scale the minimum to 0 and the maximum to 255; a constant matte is 0. Raises InvalidOutputError."""
    lowest, highest = matte.min(), matte.max()
    if lowest == highest:
        return np.zeros(matte.shape, np.uint8)
    with np.errstate(over="ignore"):
        spread = highest - lowest
    check_finite(spread)
    return np.asarray((matte - lowest) / spread * 255, np.uint8)


_HEADS: dict[Head, Callable[[ModelSpec], Task]] = {
    Head.SEMANTIC: SemanticSegmentation,
    Head.CLASS_MAP: ClassMapSegmentation,
    Head.YOLO_MASKS: InstanceSegmentation,
    Head.MATTE: Matting,
    Head.MASKFORMER: QuerySegmentation,
    Head.MASK2FORMER: QuerySegmentation,
}
