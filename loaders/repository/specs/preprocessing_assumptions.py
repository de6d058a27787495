"""Assumes the usual preprocessing of a task where it is not recorded, with a warning for each assumption.

If any of rescale_factor, mean and std is known, the others are not assumed.
"""

from dataclasses import dataclass
from math import floor

from loaders.onnx.onnx_file import OnnxGraph
from loaders.repository.specs.constants import IMAGENET_MEAN, IMAGENET_STD
from loaders.repository.specs.decision import Decision, Decisions, decide, decided
from loaders.repository.specs.graph_facts import picture_input, sides_of
from loaders.repository.specs.model_files import ModelFiles
from loaders.repository.specs.model_spec import Color, Head, Interpolation, Resize, Rounding, TaskName

_SIZE, _DETECTION_SIZE = 224, 640  # pixels
_CROP_PCT = 0.875
_YOLO_PAD = 114
_YOLO_HEADS = (Head.YOLOV5, Head.YOLOV8, Head.END_TO_END, Head.YOLO_MASKS)
_NORMALISATION = ("preprocess.rescale_factor", "preprocess.rescale_by_max", "preprocess.mean", "preprocess.std")
_REMEDY = "set it in model.toml"

Sides = tuple[int, int]


@dataclass(frozen=True, slots=True)
class _Values:
    """Normalisation, and the order of channels."""

    source: str
    mean: tuple[float, ...]
    std: tuple[float, ...]
    rescale: float = 1 / 255
    color: Color | None = None
    warning: str = ""


def resolve(_: ModelFiles, graph: OnnxGraph, decisions: Decisions) -> Decisions:
    layout = decided(decisions, "preprocess.layout")
    size, size_decision = _size(graph, decisions)
    found: dict[str, Decision] = {} if layout else {"preprocess.layout": Decision("NCHW", "assumed (NCHW)")}
    if size_decision is not None:
        found["preprocess.size"] = size_decision
    return found | dict(_resizing(size, decisions)) | dict(_normalisation(decisions))


def _size(graph: OnnxGraph, decisions: Decisions) -> tuple[Sides, Decision | None]:
    """Returns the tensor's size, and a decision if it is assumed. An open side is as long as the other one."""
    known = decided(decisions, "preprocess.size")
    if isinstance(known, list | tuple) and len(known) == 2:
        return (known[0], known[1]), None
    usual = _DETECTION_SIZE if decided(decisions, "task") == TaskName.OBJECT_DETECTION else _SIZE
    picture = picture_input(graph, decisions)
    sides = (
        sides_of(picture, decided(decisions, "preprocess.layout"))
        if picture and len(picture.shape) == 4
        else (None, None)
    )
    height, width = sides[0] or sides[1] or usual, sides[1] or sides[0] or usual
    if decided(decisions, "preprocess.resize") == Resize.BOUNDED:
        return (height, width), None
    warning = f"the size is not recorded in this export: assumed {height} x {width}; {_REMEDY} (preprocess.size)"
    return (height, width), Decision((height, width), f"assumed ({height} x {width})", warning)


def _resizing(size: Sides, decisions: Decisions) -> Decisions:
    if "preprocess.resize" in decisions or "preprocess.shortest_edge" in decisions:
        return {}
    task, head = decided(decisions, "task"), decided(decisions, "head")
    fields: dict[str, object] = {"preprocess.interpolation": Interpolation.BILINEAR}
    if head in (*_YOLO_HEADS, Head.YUNET):
        fields |= {
            "preprocess.resize": Resize.LETTERBOX,
            "preprocess.resize_rounding": Rounding.NEAREST,
            "preprocess.pad_value": 0 if head == Head.YUNET else _YOLO_PAD,
        }
    elif task in (TaskName.IMAGE_CLASSIFICATION, TaskName.IMAGE_FEATURE_EXTRACTION):
        fields |= {"preprocess.resize": Resize.SHORTEST_EDGE, "preprocess.shortest_edge": floor(min(size) / _CROP_PCT)}
    else:
        fields |= {"preprocess.resize": Resize.STRETCH}
    mode = fields["preprocess.resize"]
    if head == Head.YUNET:
        return decide("assumed (YuNet)", fields)
    warning = f"how pictures are resized is not recorded in this export: assumed {mode}; {_REMEDY} (preprocess.resize)"
    return decide(f"assumed ({mode})", fields, {"preprocess.resize": warning})


def _normalisation(decisions: Decisions) -> Decisions:
    if any(field in decisions for field in _NORMALISATION):
        return {}
    values = _values(decisions)
    fields = {
        "preprocess.rescale_factor": values.rescale,
        "preprocess.mean": values.mean,
        "preprocess.std": values.std,
        "preprocess.color": values.color,
    }
    return decide(values.source, fields, {"preprocess.mean": values.warning})


def _values(decisions: Decisions) -> _Values:
    head = decided(decisions, "head")
    if head == Head.YUNET:
        return _Values("assumed (YuNet)", (0.0,), (1.0,), 1.0, Color.BGR)
    if head in _YOLO_HEADS:
        return _Values("assumed (YOLO)", (0.0,), (1.0,), warning=_not_recorded("0 to 1, no mean and std"))
    tensorflow = decided(decisions, "preprocess.layout") == "NHWC"
    hint = " (channels are last: Keras exports often expect 0 to 255 or -1 to 1)" if tensorflow else ""
    mean, std = IMAGENET_MEAN, IMAGENET_STD
    if decided(decisions, "preprocess.color") == Color.GRAY:
        grey = sum(mean) / len(mean), sum(std) / len(std)
        return _Values("assumed (ImageNet)", grey[:1], grey[1:], warning=_not_recorded("ImageNet's, in grey") + hint)
    return _Values("assumed (ImageNet)", mean, std, warning=_not_recorded("ImageNet") + hint)


def _not_recorded(assumed: str) -> str:
    return f"mean/std are not recorded in this export: assumed {assumed}; {_REMEDY}"
