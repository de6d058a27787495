"""Recognises detection heads by the names and shapes of a graph's outputs."""

from collections.abc import Sequence

from loaders.onnx.onnx_file import OnnxGraph
from loaders.repository.specs.model_spec import Head
from loaders.tensors import TensorInfo

_MAX_FINAL_BOXES = 1000  # heads with NMS inside keep 100 to 300
_MASK_COEFFICIENTS = 32
YUNET_OUTPUTS = tuple(f"{kind}_{stride}" for kind in ("cls", "obj", "bbox", "kps") for stride in (8, 16, 32))
_PADDLE_BOX = 6  # class, score, four corners
_SCORES, _BOXES = ("score", "prob", "conf"), ("box",)


def is_yunet(graph: OnnxGraph) -> bool:
    return {output.name for output in graph.outputs} >= set(YUNET_OUTPUTS)


def is_paddle_nms(graph: OnnxGraph) -> bool:
    """Whether the output has rows of six, and an input takes the picture's scale."""
    if not graph.outputs or not any(i.name == "scale_factor" for i in graph.inputs):
        return False
    shape = graph.outputs[0].shape
    return len(shape) == 2 and shape[1] == _PADDLE_BOX


def detr_outputs(graph: OnnxGraph) -> tuple[str, str] | None:
    """Returns the names of logits and boxes."""
    names = {output.name for output in graph.outputs}
    return ("logits", "pred_boxes") if {"logits", "pred_boxes"} <= names else None


def boxes_and_scores(graph: OnnxGraph) -> tuple[str, str] | None:
    """Returns the names of the outputs (N, B, 4) and (N, B, C) or (N, C, B)."""
    ranked = [output for output in graph.outputs if len(output.shape) == 3]
    if len(graph.outputs) != 2 or len(ranked) != 2:
        return None
    for boxes, scores in (ranked, ranked[::-1]):
        if boxes.shape[2] == 4 and _are_scores(boxes, scores):
            return boxes.name, scores.name
    return None


def _are_scores(boxes: TensorInfo, scores: TensorInfo) -> bool:
    count = boxes.shape[1]
    if count is not None and None not in scores.shape[1:]:
        return count in scores.shape[1:]
    return any(word in scores.name.lower() for word in _SCORES) and any(word in boxes.name.lower() for word in _BOXES)


def yolo_head(graph: OnnxGraph, classes: int | None, *, suppressed: bool = False, old: bool = False) -> Head | None:
    """`classes`: number in the metadata; `suppressed`: NMS is inside; `old`: YOLOv5's exporter, with objectness."""
    if not graph.outputs or len(graph.outputs[0].shape) != 3:
        return None
    _, second, third = graph.outputs[0].shape
    if has_prototypes(graph):
        return None if old else Head.YOLO_MASKS
    if suppressed or (is_end_to_end(graph) and not (old and classes == 1)):
        return Head.END_TO_END
    if classes is not None:
        return _by_classes(second, third, classes, old=old)
    if second is None or third is None:
        return None
    return Head.YOLOV8 if second < third else Head.YOLOV5


def is_end_to_end(graph: OnnxGraph) -> bool:
    """Whether the first output is (N, 300, 6): a few final boxes. With prototypes, each has mask coefficients, too."""
    _, boxes, values = graph.outputs[0].shape
    return values == 6 + (_MASK_COEFFICIENTS if has_prototypes(graph) else 0) and (boxes or 0) <= _MAX_FINAL_BOXES


def has_prototypes(graph: OnnxGraph) -> bool:
    """Whether the second output is (N, 32, h, w), the prototypes of instance masks."""
    shapes: Sequence[tuple[int | None, ...]] = [output.shape for output in graph.outputs]
    return len(shapes) == 2 and len(shapes[1]) == 4 and shapes[1][1] in (None, _MASK_COEFFICIENTS)


def _by_classes(second: int | None, third: int | None, classes: int, *, old: bool) -> Head | None:
    if third == 5 + classes and second != 4 + classes:
        return Head.YOLOV5
    if second == 4 + classes:
        return Head.YOLOV8
    if second is None and third is None:
        return Head.YOLOV5 if old else Head.YOLOV8
    return None
