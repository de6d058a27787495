"""The output layouts of detectors: one function a head, from outputs to candidates.

The layouts are those of `loaders.repository.specs.model_spec.Head`; `BoxHead.decode` describes arguments and results.
"""

from collections.abc import Callable, Sequence

import numpy as np

from engine.tasks.activations import sigmoid, softmax
from engine.tasks.box_head import BoxHead, Shape
from engine.tasks.boxes import Candidates, all_classes, best_classes, candidates, corners
from engine.tasks.outputs import Array
from loaders.images.base import Size
from loaders.repository.specs.model_spec import Activation, Head

_YUNET_STRIDES = (8, 16, 32)


def box_head(head: Head, activation: Activation) -> BoxHead:
    """transformers' RT-DETR has the layout of DETR with sigmoid scores and without a class for "no object"."""
    if head is Head.DETR and activation is Activation.SIGMOID:
        return _DETR_SIGMOID
    return BOX_HEADS[head]


def yolov5(outputs: Sequence[Array], _: Size, threshold: float) -> Candidates:
    rows = outputs[0][0]
    rows = rows[rows[:, 4] >= threshold]  # a class score is at most the objectness
    return best_classes(corners(rows), rows[:, 5:] * rows[:, 4:5], threshold)


def yolov8(outputs: Sequence[Array], _: Size, threshold: float) -> Candidates:
    columns = outputs[0][0]
    return best_classes(corners(columns[:4].T), columns[4:].T, threshold)


def end_to_end(outputs: Sequence[Array], _: Size, threshold: float) -> Candidates:
    """Unused rows have a score of 0 or a class below 0, as in exports of Ultralytics."""
    rows = outputs[0][0]
    rows = rows[(rows[:, 4] >= max(threshold, np.finfo(np.float32).tiny)) & (rows[:, 5] >= 0)]
    return candidates(rows[:, :4], rows[:, 4], rows[:, 5], rows[:, 6:])


def boxes_scores(outputs: Sequence[Array], _: Size, threshold: float) -> Candidates:
    """A box may have several classes, as in Paddle's multi-class NMS."""
    boxes, scores = outputs[0][0], outputs[1][0]
    return all_classes(boxes, scores.T if scores.shape[1] == len(boxes) else scores, threshold)


def paddle_nms(outputs: Sequence[Array], _: Size, threshold: float) -> Candidates:
    """A single row of class -1 means that nothing was found."""
    rows = outputs[0][: max(0, int(outputs[1][0]))]
    rows = rows[(rows[:, 0] >= 0) & (rows[:, 1] >= threshold)]
    return candidates(rows[:, 2:6], rows[:, 1], rows[:, 0])


def detr(outputs: Sequence[Array], target: Size, threshold: float) -> Candidates:
    return best_classes(_from_fractions(outputs[1][0], target), softmax(outputs[0][0])[:, :-1], threshold)


def detr_sigmoid(outputs: Sequence[Array], target: Size, threshold: float) -> Candidates:
    return all_classes(_from_fractions(outputs[1][0], target), sigmoid(outputs[0][0]), threshold)


def rt_detr(outputs: Sequence[Array], target: Size, threshold: float) -> Candidates:
    rows = outputs[0][0]
    return best_classes(_from_fractions(rows[:, :4], target), rows[:, 4:], threshold)


def rt_detr_top_k(outputs: Sequence[Array], target: Size, threshold: float) -> Candidates:
    rows = outputs[0][0]
    rows = rows[rows[:, 4] >= threshold]
    return candidates(_from_fractions(rows[:, :4], target), rows[:, 4], rows[:, 5])


def yunet(outputs: Sequence[Array], target: Size, threshold: float) -> Candidates:
    """As in OpenCV's FaceDetectorYN; extras are five points (x, y) in the input's pixels."""
    levels = [_yunet_level(outputs[i::3], stride, target, threshold) for i, stride in enumerate(_YUNET_STRIDES)]
    boxes, scores, points = (np.concatenate(parts) for parts in zip(*levels, strict=True))
    return candidates(boxes, scores, np.zeros(len(scores)), points)


def yolo_with_values(values: int) -> BoxHead:
    """YOLOv8's layout with further values of each box, such as keypoints, in the extras."""

    def decode(outputs: Sequence[Array], _: Size, threshold: float) -> Candidates:
        columns = outputs[0][0]
        boxes, scores = corners(columns[:4].T), columns[4:-values].T
        return best_classes(boxes, scores, threshold, columns[-values:].T)

    return BoxHead((3,), decode, _axis_minus(0, 1, 4 + values))


def is_end_to_end(shape: Shape, values: int) -> bool:
    """Whether (N, B, 6 + `values`) are final boxes, and not columns of YOLOv8's layout."""
    return len(shape) == 3 and shape[2] == 6 + values


def yolo_masks(outputs: Sequence[Array], _: Size, threshold: float) -> Candidates:
    """As yolov8; extras are the mask coefficients, one for each prototype."""
    columns, coefficients = outputs[0][0], outputs[1].shape[1]
    boxes, scores = corners(columns[:4].T), columns[4:-coefficients].T
    return best_classes(boxes, scores, threshold, columns[-coefficients:].T)


def _yunet_level(outputs: Sequence[Array], stride: int, target: Size, threshold: float) -> tuple[Array, Array, Array]:
    classes, objects, boxes, points = (output[0] for output in outputs)
    scores = np.sqrt(classes.clip(0, 1) * objects.clip(0, 1))[:, 0]
    rows = np.flatnonzero(scores >= threshold)
    down, across = np.divmod(rows, target.width // stride)
    cells = np.stack([across, down], axis=1).astype(np.float32)
    centres = (cells + boxes[rows, :2]) * stride
    sizes = np.exp(boxes[rows, 2:]) * stride
    landmarks = (np.tile(cells, 5) + points[rows]) * stride
    return corners(np.concatenate([centres, sizes], axis=1)), scores[rows], landmarks


def _from_fractions(centres: Array, target: Size) -> Array:
    return corners(centres) * np.array([target.width, target.height] * 2, np.float32)


def _axis_minus(index: int, axis: int, others: int) -> Callable[[Sequence[Shape]], int | None]:
    """The number of classes is the length of an output's axis minus `others` other values."""

    def classes(shapes: Sequence[Shape]) -> int | None:
        size = shapes[index][axis]
        return None if size is None else size - others

    return classes


def _classes_beside_masks(shapes: Sequence[Shape]) -> int | None:
    values, prototypes = shapes[0][1], shapes[1][1]
    return None if values is None or prototypes is None else values - 4 - prototypes


def _classes_of_scores(shapes: Sequence[Shape]) -> int | None:
    """Scores are (N, C, B) or (N, B, C), where B is the number of boxes."""
    boxes, (_, second, third) = shapes[0][1], shapes[1]
    if None in (boxes, second, third):
        return None
    return second if third == boxes else third


BOX_HEADS = {
    Head.YOLOV5: BoxHead((3,), yolov5, _axis_minus(0, 2, 5)),
    Head.YOLOV8: BoxHead((3,), yolov8, _axis_minus(0, 1, 4)),
    Head.END_TO_END: BoxHead((3,), end_to_end, suppressed=True),
    Head.BOXES_SCORES: BoxHead((3, 3), boxes_scores, _classes_of_scores),
    Head.PADDLE_NMS: BoxHead((2, 1), paddle_nms, suppressed=True, in_picture=True),
    Head.DETR: BoxHead((3, 3), detr, _axis_minus(0, 2, 1), suppressed=True),
    Head.RT_DETR: BoxHead((3,), rt_detr, _axis_minus(0, 2, 4), suppressed=True),
    Head.RT_DETR_TOP_K: BoxHead((3,), rt_detr_top_k, suppressed=True),
    Head.YUNET: BoxHead((3,) * 12, yunet),
}
YOLO_MASKS = BoxHead((3, 4), yolo_masks, _classes_beside_masks)
YOLO_MASKS_END_TO_END = BoxHead((3, 4), end_to_end, suppressed=True)
_DETR_SIGMOID = BoxHead((3, 3), detr_sigmoid, _axis_minus(0, 2, 0), suppressed=True)
