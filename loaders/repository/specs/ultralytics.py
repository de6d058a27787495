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
_RT_DETR = "rtdetr"  # in the description
_SCORE_THRESHOLD = 0.25
_IOU, _OLD_IOU = 0.7, 0.45
_MAX_LITERAL = 4 << 20  # characters
_CLASSIFY, _DETECT, _SEGMENT = "classify", "detect", "segment"


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
    head = None if kind not in (_DETECT, _SEGMENT) else _head(graph, labels, old=old)
    fields |= _letterbox(graph, decisions) | _thresholds(old=old)
    if head is None:
        warning = f"the {kind} outputs of this export are not supported: raw outputs are returned"
        return decide(SOURCE, fields | {"task": TaskName.TENSOR}, {"task": warning})
    task = TaskName.IMAGE_SEGMENTATION if head is Head.YOLO_MASKS else TaskName.OBJECT_DETECTION
    warning = "the masks of this end-to-end head are ignored" if kind == _SEGMENT and head is Head.END_TO_END else ""
    fields |= {"task": task, "head": head, "activation": Activation.NONE}
    return decide(SOURCE, fields, {"task": warning})


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
    if _RT_DETR in graph.metadata.get("description", "").lower().replace("-", ""):
        return {"preprocess.resize": Resize.STRETCH, "preprocess.interpolation": Interpolation.OPENCV_LINEAR}
    return {
        "preprocess.resize": Resize.LETTERBOX,
        "preprocess.resize_rounding": Rounding.NEAREST,
        "preprocess.interpolation": Interpolation.OPENCV_LINEAR,
        "preprocess.size_divisor": stride if isinstance(stride, int) and 0 < stride <= _MAX_STRIDE else None,
        "preprocess.pad_value": _PAD,
    }


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
    arguments = _literal(graph.metadata, "args")
    nms = isinstance(arguments, Mapping) and bool(arguments.get("nms"))
    suppressed = nms or graph.metadata.get("end2end", "").lower() == "true"
    return yolo_head(graph, len(labels) if labels else None, suppressed=suppressed, old=old)


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
