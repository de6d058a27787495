"""Graphs whose score is known: the mean of a patch of the input, so that a heat map has to find the patch."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

SIDE = 56
_FLOAT = np.dtype(np.float32)


def patch_graph(
    rows: tuple[int, int], columns: tuple[int, int], *, layout: str = "NCHW", dtype: str = "float32"
) -> onnx.ModelProto:
    """Logits (N, 2): the mean of the input's pixels in the patch, and its negative. Bytes count as 0 to 1."""
    weights = np.zeros((SIDE, SIDE), np.float32)
    weights[slice(*rows), slice(*columns)] = 1 / (3 * (rows[1] - rows[0]) * (columns[1] - columns[0]))
    gain = 1 / 255 if dtype == "uint8" else 1.0
    shape = [1, SIDE, SIDE] if layout == "NCHW" else [SIDE, SIDE, 1]
    constants = [numpy_helper.from_array(weights.reshape(shape), "weights"), _constant("signs", [[gain, -gain]])]
    nodes = [
        helper.make_node("Cast", ["image"], ["pixels"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["pixels", "weights"], ["weighted"]),
        helper.make_node("ReduceSum", ["weighted", "axes"], ["sum"], keepdims=0),
        helper.make_node("Unsqueeze", ["sum", "last"], ["mean"]),
        helper.make_node("Mul", ["mean", "signs"], ["logits"]),
    ]
    constants += [
        numpy_helper.from_array(np.array([1, 2, 3], np.int64), "axes"),
        numpy_helper.from_array(np.array([1], np.int64), "last"),
    ]
    picture = [3, SIDE, SIDE] if layout == "NCHW" else [SIDE, SIDE, 3]
    return _model(nodes, constants, ["batch", *picture], [("logits", ["batch", 2])], np.dtype(dtype))


def two_boxes_graph() -> onnx.ModelProto:
    """Boxes and scores of two fixed boxes of class 0, the left and the right half: each scores its mean brightness."""
    half = SIDE // 2
    boxes = np.array([[[0, 0, half, SIDE], [half, 0, SIDE, SIDE]]], np.float32)
    nodes = [
        helper.make_node("Split", ["image"], ["left", "right"], axis=3, num_outputs=2),
        helper.make_node("ReduceMean", ["left", "axes"], ["one"], keepdims=0),
        helper.make_node("ReduceMean", ["right", "axes"], ["other"], keepdims=0),
        helper.make_node("Concat", ["one", "other"], ["both"], axis=0),
        helper.make_node("Reshape", ["both", "shape"], ["scores"]),
        helper.make_node("Identity", ["fixed"], ["boxes"]),
    ]
    constants = [
        numpy_helper.from_array(np.array([1, 2, 3], np.int64), "axes"),
        numpy_helper.from_array(np.array([1, 1, 2], np.int64), "shape"),
        numpy_helper.from_array(boxes, "fixed"),
    ]
    return _model(nodes, constants, [1, 3, SIDE, SIDE], [("boxes", [1, 2, 4]), ("scores", [1, 1, 2])])


def matte_graph() -> onnx.ModelProto:
    """A matte (N, 1, H, W): the mean of the channels."""
    nodes = [helper.make_node("ReduceMean", ["image", "axes"], ["matte"], keepdims=1)]
    constants = [numpy_helper.from_array(np.array([1], np.int64), "axes")]
    return _model(nodes, constants, ["batch", 3, SIDE, SIDE], [("matte", ["batch", 1, SIDE, SIDE])])


def _constant(name: str, values: Sequence[object]) -> onnx.TensorProto:
    return numpy_helper.from_array(np.asarray(values, np.float32), name)


def _model(
    nodes: list[onnx.NodeProto],
    constants: list[onnx.TensorProto],
    image: Sequence[int | str],
    outputs: Sequence[tuple[str, Sequence[int | str]]],
    dtype: np.dtype[Any] = _FLOAT,
) -> onnx.ModelProto:
    graph = helper.make_graph(
        nodes,
        "patch",
        [helper.make_tensor_value_info("image", helper.np_dtype_to_tensor_dtype(dtype), image)],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in outputs],
        constants,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    onnx.checker.check_model(model)
    return model
