"""Resolves what the graph fixes: input, layout, dtype, static sizes, and an activation inside the graph."""

from typing import get_args

from loaders.onnx.onnx_file import OnnxGraph
from loaders.repository.specs.decision import Decision, Decisions, decide, decided
from loaders.repository.specs.model_files import ModelFiles
from loaders.repository.specs.model_spec import Activation, Color, Dtype, ExtraInput, Layout
from loaders.tensors import TensorInfo

SOURCE = "graph"
CHANNELS = (1, 3, 4)

_ACTIVATED = {"Softmax", "Sigmoid", "HardSigmoid"}
_PICTURE_NAMES = ("pixel_values", "images", "image", "input", "data", "x")
_SCORE_NAMES = ("logits", "scores", "probabilities", "probs", "loss")
_EXTRA_INPUTS = {"scale_factor": ExtraInput.SCALE, "im_shape": ExtraInput.INPUT_SIZE, "pixel_mask": ExtraInput.MASK}


def resolve(_: ModelFiles, graph: OnnxGraph, decisions: Decisions) -> Decisions:
    picture = picture_input(graph, decisions)
    return {**_picture(picture, decisions), **_extra_inputs(graph, picture, decisions), **_activation(graph, decisions)}


def picture_input(graph: OnnxGraph, decisions: Decisions) -> TensorInfo | None:
    """Returns the input with 4 dimensions; of several, the one with the most common name."""
    name = decided(decisions, "input")
    if name is not None:
        return next((i for i in graph.inputs if i.name == name), None)
    candidates = [i for i in graph.inputs if len(i.shape) == 4 and i.name not in _EXTRA_INPUTS]
    usual = [i for name in _PICTURE_NAMES for i in candidates if i.name == name]
    return next(iter(usual + candidates), None)


def layout_of(picture: TensorInfo) -> Layout | None:
    """Returns None if no dimension looks like channels."""
    first, last = picture.shape[1], picture.shape[3]
    if first in CHANNELS:
        return "NCHW"
    return "NHWC" if last in CHANNELS else None


def sides_of(picture: TensorInfo, layout: object) -> tuple[int | None, int | None]:
    """Returns height and width of the graph's input."""
    height, width = picture.shape[1:3] if layout == "NHWC" else picture.shape[2:4]
    return height, width


def score_output(graph: OnnxGraph, decisions: Decisions) -> TensorInfo | None:
    """Returns the output to which the activation applies."""
    names = decided(decisions, "outputs")
    if isinstance(names, list | tuple) and names:
        return next((o for o in graph.outputs if o.name == names[0]), None)
    usual = [o for name in _SCORE_NAMES for o in graph.outputs if o.name == name]
    return next(iter((*usual, *graph.outputs)), None)


def is_activated(graph: OnnxGraph, output: TensorInfo) -> bool:
    return graph.last_ops.get(output.name) in _ACTIVATED


def _picture(picture: TensorInfo | None, decisions: Decisions) -> Decisions:
    if picture is None or len(picture.shape) != 4:
        return {}
    layout = decided(decisions, "preprocess.layout") or layout_of(picture)
    sides = sides_of(picture, layout)
    channels = picture.shape[3 if layout == "NHWC" else 1]
    facts: dict[str, object] = {
        "input": picture.name,
        "preprocess.layout": layout,
        "preprocess.size": None if None in sides else sides,
        "preprocess.dtype": picture.dtype if picture.dtype in get_args(Dtype) else None,
        "preprocess.color": Color.GRAY if channels == 1 else None,
    }
    if picture.dtype == "uint8":
        facts |= {"preprocess.rescale_factor": 1.0, "preprocess.mean": (0.0,), "preprocess.std": (1.0,)}
    return decide(SOURCE, facts)


def _extra_inputs(graph: OnnxGraph, picture: TensorInfo | None, decisions: Decisions) -> Decisions:
    others = [i.name for i in graph.inputs if i != picture]
    given = decided(decisions, "extra_inputs")
    unknown = [name for name in others if name not in _EXTRA_INPUTS and not (isinstance(given, dict) and name in given)]
    warning = f"the graph has unknown inputs: {', '.join(unknown)}; set extra_inputs in model.toml" if unknown else ""
    known = {name: _EXTRA_INPUTS[name] for name in others if name in _EXTRA_INPUTS}
    return {"extra_inputs": Decision(known, SOURCE, warning)}


def _activation(graph: OnnxGraph, decisions: Decisions) -> Decisions:
    """An activation inside the graph is not applied again."""
    output = score_output(graph, decisions)
    if output is None or not is_activated(graph, output):
        return {}
    return decide(f"{SOURCE} ({graph.last_ops[output.name]} is its last operator)", {"activation": Activation.NONE})
