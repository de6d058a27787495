"""Resolves the metadata of Ultralytics' exporter: YOLOv5 and later.

https://github.com/ultralytics/ultralytics/blob/main/ultralytics/engine/exporter.py. YOLOv5's own exporter writes only
`stride` and `names`, and its heads have objectness.
"""

from ast import literal_eval
from collections.abc import Mapping
from warnings import catch_warnings

from loaders.model_errors import ModelSpecError
from loaders.onnx.onnx_file import OnnxGraph
from loaders.repository.specs.box_heads import has_prototypes, yolo_head
from loaders.repository.specs.coco_keypoints import COCO_KEYPOINTS, COCO_SKELETON
from loaders.repository.specs.decision import Decisions, decide, decided
from loaders.repository.specs.graph_facts import picture_input
from loaders.repository.specs.label_lists import labels_of
from loaders.repository.specs.model_files import ModelFiles
from loaders.repository.specs.model_spec import (
    Activation,
    Color,
    Head,
    Interpolation,
    Resize,
    Rounding,
    TaskName,
    Transparency,
)

SOURCE = "Ultralytics metadata"

_PAD = 114
_MAX_STRIDE = 1024
_RT_DETR = "rtdetr"
_TOP_K_VALUES = 6  # box, score, class
_SCORE_THRESHOLD = 0.25
_IOU, _OLD_IOU = 0.7, 0.45
_MAX_LITERAL = 4 << 20  # characters
_CLASSIFY, _DETECT, _SEGMENT = "classify", "detect", "segment"
_ASSUMED_COCO = "assumed COCO's 17 keypoints of a person; if they are others, set keypoint_names and skeleton"
_HEADS = {
    "pose": (TaskName.KEYPOINT_DETECTION, Head.YOLO_POSE),
    "obb": (TaskName.OBJECT_DETECTION, Head.YOLO_OBB),
    "semantic": (TaskName.IMAGE_SEGMENTATION, Head.CLASS_MAP),
}


def resolve(files: ModelFiles, graph: OnnxGraph, decisions: Decisions) -> Decisions:
    metadata = graph.metadata
    if not {"names", "stride"} <= metadata.keys():
        return {}
    old = "task" not in metadata
    labels = labels_of(f"{files.name}: {SOURCE}: names", _literal(metadata, "names"))
    size = decided(decisions, "preprocess.size") or _size(metadata)
    fields: dict[str, object] = {"labels": labels, "preprocess.size": _size(metadata), **_values(metadata)}
    kind = _old_kind(graph) if old else metadata["task"]
    if kind == _CLASSIFY:
        return decide(SOURCE, fields | _classification(size, graph))
    task, head = _task(graph, kind, labels, old=old)
    fields |= _letterbox(graph, decisions) | _thresholds(old=old)
    if head is None:
        warning = (
            f"no task reads the {kind} outputs of this export: its raw outputs are returned; "
            f'write task = "tensor" in {files.spec_file} to accept this, or another task and its head'
        )
        return decide(SOURCE, fields | {"task": TaskName.TENSOR}, {"task": warning})
    fields |= {"task": task, "head": head, "activation": Activation.NONE}
    if head is not Head.YOLO_POSE:
        return decide(SOURCE, fields)
    keypoints, warning = _keypoints(metadata, labels)
    settled = f"{warning} in {files.spec_file}" if warning else ""
    return decide(SOURCE, fields | keypoints, {"keypoint_names": settled})


def _task(graph: OnnxGraph, kind: str, labels: tuple[str, ...] | None, *, old: bool) -> tuple[TaskName, Head | None]:
    """Heads other than `detect` recognise final boxes by their shape, with NMS or end to end."""
    if kind == _DETECT:
        return TaskName.OBJECT_DETECTION, _head(graph, labels, old=old)
    if kind == _SEGMENT:
        return TaskName.IMAGE_SEGMENTATION, Head.YOLO_MASKS if has_prototypes(graph) and not old else None
    return _HEADS.get(kind, (TaskName.TENSOR, None))


def _keypoints(metadata: Mapping[str, str], labels: tuple[str, ...] | None) -> tuple[dict[str, object], str]:
    """Returns fields, and a warning if 17 keypoints without names may not be COCO's, as Ultralytics draws them."""
    shape = _literal(metadata, "kpt_shape")
    count = shape[0] if isinstance(shape, list | tuple) and shape else None
    names = _same_names(_literal(metadata, "kpt_names"), count)
    is_unnamed = names is None or all(name.isdecimal() for name in names)
    if is_unnamed and count == len(COCO_KEYPOINTS):
        names = COCO_KEYPOINTS
    skeleton = COCO_SKELETON if count == len(COCO_KEYPOINTS) else None
    is_certain = not is_unnamed or names != COCO_KEYPOINTS or labels == ("person",)
    warning = "" if is_certain else _ASSUMED_COCO
    return {"keypoint_shape": shape, "keypoint_names": names, "skeleton": skeleton}, warning


def _same_names(by_class: object, count: object) -> tuple[str, ...] | None:
    lists = list(by_class.values()) if isinstance(by_class, Mapping) else [by_class]
    first = lists[0] if lists else None
    if not isinstance(first, list | tuple) or len(first) != count or any(other != first for other in lists):
        return None
    return tuple(str(name) for name in first)


def _values(metadata: Mapping[str, str]) -> dict[str, object]:
    """RGB or grey, of 0 to 1; pictures are read with OpenCV, which drops transparency."""
    return {
        "preprocess.color": Color.GRAY if metadata.get("channels") == "1" else Color.RGB,
        "preprocess.transparency": Transparency.DROP,
        "preprocess.rescale_factor": 1 / 255,
        "preprocess.mean": (0.0,),
        "preprocess.std": (1.0,),
    }


def _letterbox(graph: OnnxGraph, decisions: Decisions) -> dict[str, object]:
    """LetterBox: `cv2.resize` without antialiasing; a graph of any size gets the least padding (`auto`).

    RT-DETR's pictures are stretched (`scale_fill`).
    """
    picture = picture_input(graph, decisions)
    is_open = picture is not None and len(picture.shape) == 4 and set(picture.shape[2:]) == {None}
    stride = _literal(graph.metadata, "stride") if is_open else None
    if _is_rt_detr(graph.metadata):
        return {"preprocess.resize": Resize.STRETCH, "preprocess.interpolation": Interpolation.OPENCV_LINEAR}
    return {
        "preprocess.resize": Resize.LETTERBOX,
        "preprocess.resize_rounding": Rounding.NEAREST,
        "preprocess.interpolation": Interpolation.OPENCV_LINEAR,
        "preprocess.size_divisor": stride if isinstance(stride, int) and 0 < stride <= _MAX_STRIDE else None,
        "preprocess.pad_value": _PAD,
    }


def _is_rt_detr(metadata: Mapping[str, str]) -> bool:
    return any(_RT_DETR in metadata.get(key, "").lower().replace("-", "") for key in ("head", "description"))


def _thresholds(*, old: bool) -> dict[str, object]:
    return {"score_threshold": _SCORE_THRESHOLD, "iou_threshold": _OLD_IOU if old else _IOU}


def _classification(size: object, graph: OnnxGraph) -> dict[str, object]:
    """torchvision's Resize and CenterCrop to one size, by its shortest edge if it is square.

    The graph contains softmax, except for YOLOv5.
    """
    old = "task" not in graph.metadata
    edge = min(size) if isinstance(size, list | tuple) and size else None
    square = not isinstance(size, list | tuple) or len(set(size)) == 1
    return {
        "task": TaskName.IMAGE_CLASSIFICATION,
        "activation": Activation.SOFTMAX if old else Activation.NONE,
        "preprocess.resize": Resize.SHORTEST_EDGE if square else Resize.STRETCH,
        "preprocess.shortest_edge": edge if square else None,
        "preprocess.interpolation": Interpolation.BILINEAR,
        "preprocess.crop_rounding": Rounding.NEAREST,
    }


def _old_kind(graph: OnnxGraph) -> str:
    if graph.outputs and len(graph.outputs[0].shape) == 2:
        return _CLASSIFY
    return _SEGMENT if has_prototypes(graph) else _DETECT


def _head(graph: OnnxGraph, labels: tuple[str, ...] | None, *, old: bool) -> Head | None:
    if _is_rt_detr(graph.metadata):
        return _rt_detr_head(graph, len(labels or ()))
    arguments = _literal(graph.metadata, "args")
    nms = isinstance(arguments, Mapping) and bool(arguments.get("nms"))
    suppressed = nms or graph.metadata.get("end2end", "").lower() == "true"
    return yolo_head(graph, len(labels) if labels else None, suppressed=suppressed, old=old)


def _rt_detr_head(graph: OnnxGraph, classes: int) -> Head | None:
    """Graphs of newer exporters end in a top-k. Two classes give both layouts six values: `head` decides, which only
    newer exporters write.
    """
    if not graph.outputs or len(graph.outputs[0].shape) != 3:
        return None
    values = graph.outputs[0].shape[2]
    is_top_k = values == _TOP_K_VALUES and (values != 4 + classes or "head" in graph.metadata)
    return Head.RT_DETR_TOP_K if is_top_k else Head.RT_DETR


def _size(metadata: Mapping[str, str]) -> tuple[int, int] | None:
    value = _literal(metadata, "imgsz")
    sides = [value, value] if isinstance(value, int) else value
    if not isinstance(sides, list | tuple) or len(sides) != 2:
        return None
    height, width = sides
    return (height, width) if isinstance(height, int) and isinstance(width, int) else None


def _literal(metadata: Mapping[str, str], key: str) -> object:
    """Parses a Python literal, without executing anything. Returns None for anything else."""
    text = metadata.get(key)
    if text is None:
        return None
    if len(text) > _MAX_LITERAL:
        raise ModelSpecError(f"{SOURCE}: {key} has more than {_MAX_LITERAL:,} characters")
    try:
        with catch_warnings(action="ignore"):
            return literal_eval(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError, TypeError):
        return None
