"""Resolves task, head, labels and activation from the `config.json` of Hugging Face transformers."""

from collections.abc import Mapping
from re import fullmatch, match

from loaders.onnx.onnx_file import OnnxGraph
from loaders.repository.specs.decision import Decisions, decide
from loaders.repository.specs.json_object import JsonObject
from loaders.repository.specs.label_lists import labels_of
from loaders.repository.specs.model_files import ModelFiles
from loaders.repository.specs.model_spec import Activation, Head, TaskName

FILE = "config.json"

_LOGITS, _BOXES = "logits", "pred_boxes"
_EMBEDDINGS = ("image_embeds", "pooler_output", "last_hidden_state")  # the first that the graph has
_PLACEHOLDER = r"LABEL_\d+"

# Detectors in DETR's layout with independent class scores, and no class for "no object".
_SIGMOID_DETECTORS = (
    "conditional_detr", "deformable_detr", "dab-detr", "rt_detr", "rt_detr_v2", "rf_detr", "d_fine", "deta",
)  # fmt: skip

_ACTIVATIONS = {
    "regression": Activation.NONE,
    "multi_label_classification": Activation.SIGMOID,
    "single_label_classification": Activation.SOFTMAX,
}


def resolve(files: ModelFiles, graph: OnnxGraph, _: Decisions) -> Decisions:
    data = files.read_object(FILE)
    if data is None or not ({"model_type", "architectures", "id2label"} & data.keys()):
        return {}
    config = JsonObject(files.where(FILE), data)
    labels = _labels(config)
    return decide(FILE, {**_task(config, graph, labels), "labels": labels})


def _task(config: JsonObject, graph: OnnxGraph, labels: tuple[str, ...] | None) -> dict[str, object]:
    """Decides by the model class, if the graph has the outputs of that class."""
    outputs = {output.name for output in graph.outputs}
    if {_LOGITS, _BOXES} <= outputs:
        sigmoid = config.text("model_type") in _SIGMOID_DETECTORS
        return {
            "task": TaskName.OBJECT_DETECTION,
            "head": Head.DETR,
            "outputs": (_LOGITS, _BOXES),
            "activation": Activation.SIGMOID if sigmoid else Activation.SOFTMAX,
        }
    if _is("ForSemanticSegmentation", config) and _LOGITS in outputs:
        return {"task": TaskName.IMAGE_SEGMENTATION, "head": Head.SEMANTIC, "outputs": (_LOGITS,)}
    if _is("For.*ImageClassification", config) and _LOGITS in outputs:
        activation = _activation(config, labels)
        return {"task": TaskName.IMAGE_CLASSIFICATION, "outputs": (_LOGITS,), "activation": activation}
    embedding = next((name for name in _EMBEDDINGS if name in outputs), None)
    if embedding and _LOGITS not in outputs:
        return {"task": TaskName.IMAGE_FEATURE_EXTRACTION, "outputs": (embedding,)}
    return {}


def _is(kind: str, config: JsonObject) -> bool:
    architectures = config.data.get("architectures")
    names = architectures if isinstance(architectures, list) else []
    return any(isinstance(name, str) and match(rf"[A-Za-z0-9_]*?{kind}", name) for name in names)


def _activation(config: JsonObject, labels: tuple[str, ...] | None) -> Activation:
    """Follows transformers' image-classification pipeline."""
    given = _ACTIVATIONS.get(config.text("problem_type"))
    count = config.integer("num_labels") or (len(labels) if labels else None) or _placeholders(config)
    return given or (Activation.SIGMOID if count == 1 else Activation.SOFTMAX)


def _placeholders(config: JsonObject) -> int:
    names = config.data.get("id2label")
    return len(names) if isinstance(names, Mapping) else 0


def _labels(config: JsonObject) -> tuple[str, ...] | None:
    """Ignores LABEL_0, LABEL_1 ..., which training writes if it has no names."""
    labels = labels_of(f"{config.where}: id2label", config.data.get("id2label"))
    return None if labels and all(fullmatch(_PLACEHOLDER, label) for label in labels) else labels
