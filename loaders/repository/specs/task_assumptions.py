"""Assumes task, head and activation from the graph's outputs where they are not recorded."""

from collections.abc import Iterator
from dataclasses import dataclass

from loaders.onnx.onnx_file import OnnxGraph
from loaders.repository.specs import box_heads
from loaders.repository.specs.decision import Decisions, decide, decided
from loaders.repository.specs.graph_facts import is_activated, picture_input, score_output, sides_of
from loaders.repository.specs.hugging_face_config import QUERY_OUTPUTS, SEGMENT_THRESHOLD
from loaders.repository.specs.model_files import ModelFiles
from loaders.repository.specs.model_spec import Activation, Head, TaskName
from loaders.tensors import TensorInfo

ASSUMED_SOFTMAX = 'assumed softmax; if a picture may have several labels, set activation = "sigmoid" in model.toml'

_EMBEDDING_NAMES = ("embed", "feature", "pooler", "hidden_state")
_MIN_ANCHORS, _MAX_CLASSES = 1000, 1000  # within these bounds, (N, a, b) are boxes of YOLO and not embeddings
_MASK_STRIDES = (1, 2, 4, 8)
_DEPTH_NAMES = ("depth", "disparity")
_ONE_MAP = {Head.SEMANTIC, Head.MATTE}
_INTEGERS = ("uint8", "int32", "int64")
_FLOATS = ("float32", "float16")
_YUNET_SCORE, _YUNET_IOU = 0.9, 0.3  # of OpenCV's FaceDetectorYN


@dataclass(frozen=True, slots=True)
class _Guess:
    task: TaskName
    why: str
    head: Head | None = None
    outputs: tuple[str, ...] | None = None
    activation: Activation = Activation.NONE
    thresholds: tuple[float | None, float | None] = (None, None)
    risk: str = ""  # what may be wrong, and the line that settles it


def resolve(files: ModelFiles, graph: OnnxGraph, decisions: Decisions) -> Decisions:
    task = decided(decisions, "task")
    keypoints = _Guess(TaskName.KEYPOINT_DETECTION, "the only layout of keypoints", Head.YOLO_POSE)
    guesses = (*_guesses(graph, decisions), _Guess(TaskName.TENSOR, "unknown task"), keypoints)
    guess = next((guess for guess in guesses if task in (None, guess.task)), None)
    if guess is None:
        return {}
    score, iou = guess.thresholds
    fields = {
        "task": guess.task,
        "head": guess.head,
        "outputs": guess.outputs if _reads_alike(guess.head, decided(decisions, "head")) else None,
        "activation": guess.activation,
        "score_threshold": score,
        "iou_threshold": iou,
    }
    return decide(f"assumed ({guess.why})", fields, _warnings(files, guess, decisions))


def _reads_alike(guess: Head | None, decided_head: object) -> bool:
    """Whether both heads read the same outputs, so that those of the guess fit the head that is decided."""
    return decided_head in (None, guess) or {guess, decided_head} <= _ONE_MAP


def _warnings(files: ModelFiles, guess: _Guess, decisions: Decisions) -> dict[str, str]:
    if guess.task is TaskName.TENSOR:
        unknown = "the task of this graph is unknown: its raw outputs are returned"
        return {"task": f'{unknown}; write task = "tensor" in {files.spec_file} to accept this, or another task'}
    if guess.risk and decided(decisions, "task") is None:
        return {"task": f"{guess.risk} in {files.spec_file}"}
    given = any(decision.source == files.spec_file for decision in decisions.values())
    if guess.activation is Activation.SOFTMAX and guess.task is TaskName.IMAGE_CLASSIFICATION and not given:
        return {"activation": ASSUMED_SOFTMAX}
    return {}


def _guesses(graph: OnnxGraph, decisions: Decisions) -> Iterator[_Guess]:
    """Yields the most certain guesses first."""
    yield from _depth(graph, decisions)
    yield from _class_map(graph, decisions)
    yield from _detectors(graph)
    output = score_output(graph, decisions)
    if output is None:
        return
    outputs = (output.name,) if output.name != graph.outputs[0].name else None
    if _is_embedding(graph, output):
        yield _Guess(TaskName.IMAGE_FEATURE_EXTRACTION, f"its output {output.name} is an embedding", None, outputs)
    if len(output.shape) == 2 or (len(output.shape) == 4 and output.shape[2:] == (1, 1) and output.shape[1] != 1):
        activation = Activation.SIGMOID if output.shape[1] == 1 else Activation.SOFTMAX
        yield _Guess(TaskName.IMAGE_CLASSIFICATION, _shape(output), None, outputs, activation)
        yield _Guess(TaskName.IMAGE_FEATURE_EXTRACTION, _shape(output), None, outputs)
    yield from _masks(graph, decisions)


def _detectors(graph: OnnxGraph) -> Iterator[_Guess]:
    task = TaskName.OBJECT_DETECTION
    if box_heads.is_yunet(graph):
        thresholds = (_YUNET_SCORE, _YUNET_IOU)
        yield _Guess(task, "YuNet's outputs", Head.YUNET, box_heads.YUNET_OUTPUTS, thresholds=thresholds)
    if box_heads.is_paddle_nms(graph):
        yield _Guess(task, "Paddle's NMS", Head.PADDLE_NMS)
    if detr := box_heads.detr_outputs(graph):
        yield _Guess(task, "DETR's outputs", Head.DETR, detr, Activation.SOFTMAX)
    if boxes := box_heads.boxes_and_scores(graph):
        yield _Guess(task, "its outputs are boxes and scores", Head.BOXES_SCORES, boxes)
    yield from _queries(graph)
    head = box_heads.yolo_head(graph, None) if _is_yolo(graph) else None
    if head is Head.YOLO_MASKS:
        yield _Guess(TaskName.IMAGE_SEGMENTATION, "boxes and prototypes", head)
    elif head is not None:
        yield _Guess(task, _shape(graph.outputs[0]), head)


def _queries(graph: OnnxGraph) -> Iterator[_Guess]:
    if set(QUERY_OUTPUTS) <= {output.name for output in graph.outputs}:
        risk = 'assumed MaskFormer; if this is Mask2Former, set head = "mask2former"'
        thresholds = (SEGMENT_THRESHOLD, None)
        why = "MaskFormer's outputs"
        yield _Guess(TaskName.IMAGE_SEGMENTATION, why, Head.MASKFORMER, QUERY_OUTPUTS, thresholds=thresholds, risk=risk)


def _depth(graph: OnnxGraph, decisions: Decisions) -> Iterator[_Guess]:
    """Yields guesses for one number a pixel, by the output's name or by its shape (N, h, w) as in MiDaS."""
    task, picture = TaskName.DEPTH_ESTIMATION, picture_input(graph, decisions)
    for output in graph.outputs:
        if _is_plane(output) and any(word in output.name.lower() for word in _DEPTH_NAMES):
            yield _Guess(task, f"the name of its output {output.name}", outputs=(output.name,))
    if len(graph.outputs) != 1:
        return
    (output,) = graph.outputs
    if output.dtype in _FLOATS and len(output.shape) == 3 and _has_sides_of(picture, output, decisions):
        risk = 'assumed that its output is a depth map; if it is not, set task = "tensor"'
        yield _Guess(task, _shape(output), risk=risk)


def _class_map(graph: OnnxGraph, decisions: Decisions) -> Iterator[_Guess]:
    """Yields a guess for integers of the input's size, as of ArgMax."""
    picture = picture_input(graph, decisions)
    for output in graph.outputs:
        is_map = output.dtype in _INTEGERS and _is_plane(output)
        is_best = graph.last_ops.get(output.name) == "ArgMax"
        if is_map and (is_best or _has_sides_of(picture, output, decisions)):
            yield _Guess(TaskName.IMAGE_SEGMENTATION, "its output has class ids", Head.CLASS_MAP, (output.name,))


def _is_plane(output: TensorInfo) -> bool:
    return len(output.shape) == 3 or (len(output.shape) == 4 and output.shape[1] == 1)


def _has_sides_of(picture: TensorInfo | None, output: TensorInfo, decisions: Decisions) -> bool:
    if picture is None or len(picture.shape) != 4:
        return False
    sides = sides_of(picture, decided(decisions, "preprocess.layout"))
    return None not in sides and output.shape[-2:] == sides


def _is_yolo(graph: OnnxGraph) -> bool:
    """(N, 84, 8400), (N, 25200, 85) or (N, 300, 6), alone or with prototypes and their coefficients."""
    if not graph.outputs or len(graph.outputs[0].shape) != 3:
        return False
    if len(graph.outputs) > 1 and not box_heads.has_prototypes(graph):
        return False
    second, third = graph.outputs[0].shape[1:]
    if second is None or third is None:
        return False
    few, many = sorted((second, third))
    return box_heads.is_end_to_end(graph) or (few in range(5, _MAX_CLASSES) and many >= _MIN_ANCHORS)


def _is_embedding(graph: OnnxGraph, output: TensorInfo) -> bool:
    named = any(word in output.name.lower() for word in _EMBEDDING_NAMES)
    return len(output.shape) in (2, 3) and (named or graph.last_ops.get(output.name) == "LpNormalization")


def _masks(graph: OnnxGraph, decisions: Decisions) -> Iterator[_Guess]:
    """Yields guesses for one map per class, or one map of opacity."""
    output = next((o for o in graph.outputs if len(o.shape) == 4), None)
    picture = picture_input(graph, decisions)
    if output is None or picture is None or len(picture.shape) != 4:
        return
    stride = _stride(output, sides_of(picture, decided(decisions, "preprocess.layout")))
    if stride not in (None, *_MASK_STRIDES):
        return
    task, outputs = TaskName.IMAGE_SEGMENTATION, (output.name,)
    if output.shape[1] == 1:
        activation = Activation.NONE if is_activated(graph, output) else Activation.SIGMOID
        yield _Guess(task, _shape(output), Head.MATTE, outputs, activation)
    elif output.shape[1] is not None:
        yield _Guess(task, _shape(output), Head.SEMANTIC, outputs, Activation.SOFTMAX)


def _stride(output: TensorInfo, sides: tuple[int | None, int | None]) -> int | None:
    """Returns the ratio of input to output pixels per side; 0 if that is not a whole number, None if unknown."""
    height, width = sides
    down, across = output.shape[2:]
    if not (height and width and down and across):
        return None
    same = height % down == 0 and width % across == 0 and height // down == width // across
    return height // down if same else 0


def _shape(output: TensorInfo) -> str:
    dims = ", ".join("?" if dim is None else str(dim) for dim in output.shape[1:])
    return f"its output is (N, {dims})"
