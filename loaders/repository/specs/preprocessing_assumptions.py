"""Assumes the usual preprocessing of a task where it is not recorded, with a warning for each assumption.

If any of rescale_factor, mean and std is known, the others are not assumed.
"""

from dataclasses import dataclass
from math import floor

from loaders.onnx.onnx_file import OnnxGraph
from loaders.repository.specs.constants import IMAGENET_MEAN, IMAGENET_STD
from loaders.repository.specs.decision import Decision, Decisions, decide, decided, warn
from loaders.repository.specs.graph_facts import picture_input, sides_of
from loaders.repository.specs.model_files import ModelFiles
from loaders.repository.specs.model_spec import Color, Head, Interpolation, Resize, Rounding, TaskName

_SIZE, _DETECTION_SIZE = 224, 640  # pixels
_CROP_PCT = 0.875
_YOLO_PAD = 114
_YOLO_HEADS = (Head.YOLOV5, Head.YOLOV8, Head.END_TO_END, Head.YOLO_MASKS)
_NORMALISATION = ("preprocess.rescale_factor", "preprocess.rescale_by_max", "preprocess.mean", "preprocess.std")
_TORCHVISION = "assumed (torchvision's crop)"

Sides = tuple[int, int]


@dataclass(frozen=True, slots=True)
class _Values:
    source: str
    mean: tuple[float, ...]
    std: tuple[float, ...]
    assumed: str
    rescale: float = 1 / 255


def resolve(files: ModelFiles, graph: OnnxGraph, decisions: Decisions) -> Decisions:
    layout = decided(decisions, "preprocess.layout")
    size, size_decision = _size(files, graph, decisions)
    found: dict[str, Decision] = {} if layout else {"preprocess.layout": Decision("NCHW", "assumed (NCHW)")}
    if size_decision is not None:
        found["preprocess.size"] = size_decision
    return found | dict(_resizing(files, size, decisions)) | dict(_normalisation(files, decisions))


def _size(files: ModelFiles, graph: OnnxGraph, decisions: Decisions) -> tuple[Sides, Decision | None]:
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
    risk = f"the size is not recorded in this export, another one changes every score: assumed {height} x {width}"
    warning = warn(files, risk, f"size = [{height}, {width}]")
    return (height, width), Decision((height, width), f"assumed ({height} x {width})", warning)


def _resizing(files: ModelFiles, size: Sides, decisions: Decisions) -> Decisions:
    """torchvision's recipe for classifiers. Whoever sets `shortest_edge` alone means that recipe, too."""
    if "preprocess.resize" in decisions:
        return {}
    task, head = decided(decisions, "task"), decided(decisions, "head")
    if "preprocess.shortest_edge" in decisions:
        return decide(_TORCHVISION, {"preprocess.crop_rounding": Rounding.NEAREST})
    fields: dict[str, object] = {"preprocess.interpolation": Interpolation.BILINEAR}
    if head in _YOLO_HEADS:
        fields = {
            "preprocess.resize": Resize.LETTERBOX,
            "preprocess.resize_rounding": Rounding.NEAREST,
            "preprocess.interpolation": Interpolation.OPENCV_LINEAR,
            "preprocess.pad_value": _YOLO_PAD,
        }
    elif task in (TaskName.IMAGE_CLASSIFICATION, TaskName.IMAGE_FEATURE_EXTRACTION):
        fields |= {
            "preprocess.resize": Resize.SHORTEST_EDGE,
            "preprocess.shortest_edge": floor(min(size) / _CROP_PCT),
            "preprocess.crop_rounding": Rounding.NEAREST,
        }
    else:
        fields |= {"preprocess.resize": Resize.STRETCH}
    mode = fields["preprocess.resize"]
    edge = f" and shortest_edge = {fields['preprocess.shortest_edge']}" if "preprocess.shortest_edge" in fields else ""
    risk = f"how pictures are resized is not recorded in this export, another way changes scores: assumed {mode}"
    warning = warn(files, risk, f'resize = "{mode}"{edge}')
    return decide(f"assumed ({mode})", fields, {"preprocess.resize": warning})


def _normalisation(files: ModelFiles, decisions: Decisions) -> Decisions:
    if any(field in decisions for field in _NORMALISATION):
        return {}
    values = _values(decisions)
    fields = {
        "preprocess.rescale_factor": values.rescale,
        "preprocess.mean": values.mean,
        "preprocess.std": values.std,
    }
    line = f"mean = {list(values.mean)} and std = {list(values.std)}"
    risk = f"mean/std are not recorded in this export, others make every score wrong: assumed {values.assumed}"
    return decide(values.source, fields, {"preprocess.mean": warn(files, risk, line)})


def _values(decisions: Decisions) -> _Values:
    head = decided(decisions, "head")
    if head in _YOLO_HEADS:
        return _Values("assumed (YOLO)", (0.0,), (1.0,), assumed="0 to 1, no mean and std")
    tensorflow = decided(decisions, "preprocess.layout") == "NHWC"
    hint = " (channels are last: Keras exports often expect 0 to 255 or -1 to 1)" if tensorflow else ""
    if head == Head.PADDLE_NMS:
        hint = " (PP-YOLOE+ expects 0 to 1, without mean and std)"
    mean, std = IMAGENET_MEAN, IMAGENET_STD
    if decided(decisions, "preprocess.color") == Color.GRAY:
        grey = sum(mean) / len(mean), sum(std) / len(std)
        return _Values("assumed (ImageNet)", grey[:1], grey[1:], assumed=f"ImageNet's, in grey{hint}")
    return _Values("assumed (ImageNet)", mean, std, assumed=f"ImageNet{hint}")
