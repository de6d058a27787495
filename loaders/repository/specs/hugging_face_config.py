"""Resolves task, head, labels and activation from the `config.json` of Hugging Face transformers.

The model class in `architectures` decides the task, if the graph has the outputs of that class.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from re import fullmatch

from loaders.onnx.onnx_file import OnnxGraph
from loaders.repository.specs.decision import Decisions, decide
from loaders.repository.specs.json_object import JsonObject
from loaders.repository.specs.label_lists import labels_of
from loaders.repository.specs.model_files import ModelFiles
from loaders.repository.specs.model_spec import Activation, Head, Subtask, TaskName

FILE = "config.json"

# Minimum score of a segment in transformers' image-segmentation pipeline.
SEGMENT_THRESHOLD = 0.9

_EMBEDDINGS = ("image_embeds", "pooler_output", "last_hidden_state")  # the first that the graph has
QUERY_OUTPUTS = ("class_queries_logits", "masks_queries_logits")
_OUTPUT_NAMES = {
    *_EMBEDDINGS, *QUERY_OUTPUTS, "logits", "pred_boxes", "pred_masks", "predicted_depth", "reconstruction",
}  # fmt: skip
_PLACEHOLDER = r"LABEL_\d+"

# Detectors in DETR's layout that have a class for "no object", and so softmax; all others have independent scores.
_SOFTMAX_DETECTORS = ("detr", "table-transformer", "yolos")

# Models of queries and masks that transformers reads in another way, and a depth model whose answer is inverted.
_OTHER_RULES = ("eomt", "eomt_dinov3", "videomt", "oneformer", "depth_pro")

_ACTIVATIONS = {
    "regression": Activation.NONE,
    "multi_label_classification": Activation.SIGMOID,
    "single_label_classification": Activation.SOFTMAX,
}

Fields = dict[str, object]


@dataclass(frozen=True, slots=True)
class _ModelClass:
    """`ending` of its name, a regular expression; `outputs` of its graph with their `ranks`; what these decide."""

    ending: str
    outputs: tuple[str, ...]
    ranks: tuple[int, ...]
    fields: Callable[[JsonObject, OnnxGraph], Fields]


def resolve(files: ModelFiles, graph: OnnxGraph, _: Decisions) -> Decisions:
    data = files.read_object(FILE)
    if data is None or not ({"model_type", "architectures", "id2label"} & data.keys()):
        return {}
    config = JsonObject(files.where(FILE), data)
    labels = _labels(config)
    fields = _task(config, graph)
    if fields.get("task") is not TaskName.TENSOR:
        return decide(FILE, {**fields, "labels": labels})
    warning = (
        f"no task reads the outputs of {_architecture(config)} as transformers does: its raw outputs are returned; "
        f'write task = "tensor" in {files.spec_file} to accept this, or another task and its head'
    )
    return decide(FILE, {**fields, "labels": labels}, {"task": warning})


def _task(config: JsonObject, graph: OnnxGraph) -> Fields:
    """Returns no task if the graph has other outputs than the class."""
    architecture = _architecture(config)
    classes = [known for known in _CLASSES if fullmatch(rf"\w*?{known.ending}", architecture)]
    if classes and config.text("model_type") in _OTHER_RULES:
        return {"task": TaskName.TENSOR}
    by_outputs = [_DETECTOR] if set(_DETECTOR.outputs) <= {output.name for output in graph.outputs} else []
    for known in (*classes, *by_outputs):
        if outputs := _outputs(known, graph):
            return {"outputs": outputs, **known.fields(config, graph)}
    is_for_another_task = not classes and fullmatch(r"\w*?For[A-Z]\w*", architecture)
    return _embedding(graph) or ({"task": TaskName.TENSOR} if is_for_another_task else {})


def _architecture(config: JsonObject) -> str:
    architectures = config.data.get("architectures")
    names = architectures if isinstance(architectures, list) else []
    return next((name for name in names if isinstance(name, str)), "")


def _outputs(known: _ModelClass, graph: OnnxGraph) -> tuple[str, ...] | None:
    """The outputs with the names of the class; or all, if they have names of their own and the ranks of the class."""
    names = tuple(output.name for output in graph.outputs)
    if set(known.outputs) <= set(names):
        return known.outputs
    has_ranks = tuple(len(output.shape) for output in graph.outputs) == known.ranks
    return names if has_ranks and _OUTPUT_NAMES.isdisjoint(names) else None


def _embedding(graph: OnnxGraph) -> Fields:
    names = {output.name for output in graph.outputs}
    embedding = next((name for name in _EMBEDDINGS if name in names), None)
    if embedding is None or "logits" in names:
        return {}
    return {"task": TaskName.IMAGE_FEATURE_EXTRACTION, "outputs": (embedding,)}


def _classification(config: JsonObject, _: OnnxGraph) -> Fields:
    return {"task": TaskName.IMAGE_CLASSIFICATION, "activation": _activation(config)}


def _detection(config: JsonObject, graph: OnnxGraph) -> Fields:
    activation = Activation.SOFTMAX if _has_no_object(config, graph) else Activation.SIGMOID
    return {"task": TaskName.OBJECT_DETECTION, "head": Head.DETR, "activation": activation}


def _has_no_object(config: JsonObject, graph: OnnxGraph) -> bool:
    """Whether there is one more class than labels. If the numbers are not recorded, the model type decides."""
    classes = next((output.shape[-1] for output in graph.outputs if output.name == "logits"), None)
    labels = _count(config)
    if classes is not None and labels in (classes, classes - 1):
        return labels < classes
    return config.text("model_type") in ("", *_SOFTMAX_DETECTORS)


def _semantic(_: JsonObject, __: OnnxGraph) -> Fields:
    return {"task": TaskName.IMAGE_SEGMENTATION, "head": Head.SEMANTIC}


def _queries(config: JsonObject, _: OnnxGraph) -> Fields:
    """Panoptic segments are the first choice of transformers' pipeline."""
    return {
        "task": TaskName.IMAGE_SEGMENTATION,
        "head": Head.MASK2FORMER if config.text("model_type") == "mask2former" else Head.MASKFORMER,
        "subtask": Subtask.PANOPTIC,
        "score_threshold": SEGMENT_THRESHOLD,
    }


def _depth(_: JsonObject, __: OnnxGraph) -> Fields:
    return {"task": TaskName.DEPTH_ESTIMATION}


_DETECTOR = _ModelClass("ForObjectDetection", ("logits", "pred_boxes"), (3, 3), _detection)
_SEGMENTATION = "For(Instance|Universal)?Segmentation"
_CLASSES = (
    _ModelClass(r"For\w*ImageClassification\w*", ("logits",), (2,), _classification),
    _DETECTOR,
    _ModelClass("ForSemanticSegmentation", ("logits",), (4,), _semantic),
    _ModelClass(_SEGMENTATION, ("logits", "pred_masks"), (3, 4), _queries),
    _ModelClass(_SEGMENTATION, QUERY_OUTPUTS, (3, 4), _queries),
    _ModelClass("ForDepthEstimation", ("predicted_depth",), (3,), _depth),
    _ModelClass("ForDepthEstimation", ("predicted_depth",), (4,), _depth),
)


def _activation(config: JsonObject) -> Activation:
    """Follows transformers' image-classification pipeline."""
    given = _ACTIVATIONS.get(config.text("problem_type"))
    return given or (Activation.SIGMOID if _count(config) == 1 else Activation.SOFTMAX)


def _count(config: JsonObject) -> int:
    """Number of labels, with and without names; 0 if it is not recorded."""
    names = config.data.get("id2label")
    placeholders = len(names) if isinstance(names, Mapping) else 0
    return config.integer("num_labels") or len(_labels(config) or ()) or placeholders


def _labels(config: JsonObject) -> tuple[str, ...] | None:
    """Ignores LABEL_0, LABEL_1 ..., which training writes if it has no names."""
    labels = labels_of(f"{config.where}: id2label", config.data.get("id2label"))
    return None if labels and all(fullmatch(_PLACEHOLDER, label) for label in labels) else labels
