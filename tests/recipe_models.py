"""The default model behind nodes that undo another recipe: a bare graph whose right recipe is known."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from tests.paths import ROOT

_MODEL = ROOT / "models" / "efficientnet-lite0" / "1" / "model.onnx"
_OWN_MEAN, _OWN_STD, _OWN_SIDE = 127.0, 128.0, 224


@dataclass(frozen=True)
class Truth:
    """The recipe that a graph needs: `(pixel - mean) / std` of pixels from 0 to 255, in the order of `color`."""

    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)
    color: str = "RGB"
    layout: str = "NCHW"
    side: int = _OWN_SIDE


TRUTHS = {
    "efficientnet-lite": Truth(mean=(127.0,), std=(128.0,)),
    "imagenet": Truth(mean=(123.675, 116.28, 103.53), std=(58.395, 57.12, 57.375)),
    "caffe": Truth(mean=(103.939, 116.779, 123.68), color="BGR"),
    "bgr 0..1": Truth(std=(255.0,), color="BGR"),
    "nhwc 0..255": Truth(layout="NHWC"),
    "299 -1..1": Truth(mean=(127.5,), std=(127.5,), side=299),
}


def undoing(truth: Truth) -> onnx.ModelProto:
    """The default model for inputs as `truth` prepares them, without metadata; its input is called `x`."""
    model = onnx.load(_MODEL)
    graph = model.graph
    own = graph.input[0].name
    nodes, constants, tensor = list[onnx.NodeProto](), list[onnx.TensorProto](), "x"

    def add(operator: str, *given: NDArray[Any], **attributes: Any) -> None:  # noqa: ANN401 - of ONNX operators
        nonlocal tensor
        names = [f"undo_{len(constants) + i}" for i in range(len(given))]
        constants.extend(numpy_helper.from_array(np.asarray(a), n) for a, n in zip(given, names, strict=True))
        output = f"undone_{len(nodes)}"
        inputs = [tensor, "", *names] if operator == "Resize" else [tensor, *names]
        nodes.append(helper.make_node(operator, inputs, [output], **attributes))
        tensor = output

    if truth.layout == "NHWC":
        add("Transpose", perm=[0, 3, 1, 2])
    add("Mul", _per_channel(truth.std))
    add("Add", _per_channel(truth.mean))
    if truth.color == "BGR":
        add("Gather", np.array([2, 1, 0]), axis=1)
    if truth.side != _OWN_SIDE:
        scale = _OWN_SIDE / truth.side
        add("Resize", np.array([1, 1, scale, scale], np.float32), mode="linear", antialias=1)
    add("Sub", _per_channel((_OWN_MEAN,)))
    add("Mul", _per_channel((1 / _OWN_STD,)))
    nodes[-1].output[0] = own
    side = truth.side
    shape: list[int | str] = ["batch", 3, side, side] if truth.layout == "NCHW" else ["batch", side, side, 3]
    made = helper.make_graph(
        [*nodes, *graph.node],
        "bare",
        [helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, shape)],
        list(graph.output),
        [*constants, *graph.initializer],
    )
    return helper.make_model(made, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)


def write(truth: Truth, path: Path) -> Path:
    path.write_bytes(undoing(truth).SerializeToString())
    return path


def _per_channel(values: tuple[float, ...]) -> NDArray[np.float32]:
    return np.asarray(values, np.float32).reshape(1, -1, 1, 1)
