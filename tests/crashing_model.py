"""A real ONNX graph that ends its process: the runtime divides the least whole number by -1; x86 answers by SIGFPE."""

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from tests.tiny_models import SIDE


def crashing_graph(level: int = 255) -> onnx.ModelProto:
    """Answers as `colour_graph` does; a picture of this level crashes it: 255 is white, 0 black."""
    nodes = [
        helper.make_node("ReduceMean", ["image"], ["means"], axes=[2, 3], keepdims=0),
        helper.make_node("Mul", ["means", "levels"], ["level"]),
        helper.make_node("Cast", ["level"], ["whole"], to=TensorProto.INT32),
        helper.make_node("Sub", ["whole", "beyond"], ["below"]),
        helper.make_node("Div", ["least", "below"], ["quotient"]),  # -2**31 / -1
        helper.make_node("Cast", ["quotient"], ["number"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["number", "zero"], ["nothing"]),
        helper.make_node("Add", ["means", "nothing"], ["logits"]),
    ]
    constants = [
        numpy_helper.from_array(np.asarray(255.5, np.float32), "levels"),
        numpy_helper.from_array(np.asarray(level + 1, np.int32), "beyond"),
        numpy_helper.from_array(np.asarray(-(2**31), np.int32), "least"),
        numpy_helper.from_array(np.asarray(0, np.float32), "zero"),
    ]
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, ["batch", 3, SIDE, SIDE])
    logits = helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", 3])
    graph = helper.make_graph(nodes, "crashing", [image], [logits], constants)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
