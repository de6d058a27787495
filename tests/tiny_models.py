"""Real ONNX graphs of a few hundred bytes, so that nothing needs a mock.

`colour` classifies pictures as red, green or blue; `slow` does so after seconds, and `stuck_on_red` after hours for
certain pictures; `not_a_number` returns NaN for bright ones.
"""

from collections.abc import Sequence
from io import BytesIO
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

COLOURS = ("red", "green", "blue")
SIDE = 8
_OPSET = 17

SPEC = f"""
task = "image-classification"

[preprocess]
resize = "stretch"
size = [{SIDE}, {SIDE}]
mean = [0.0]
std = [1.0]
"""


def colour_graph(
    *,
    layout: str = "NCHW",
    dtype: int = TensorProto.FLOAT,
    batch: int | str = "batch",
    gain: float = 10.0,
    side: int | str = SIDE,
) -> onnx.ModelProto:
    """Logits (N, 3): `gain` times the mean of each channel. `side` as a word leaves height and width open."""
    shape = [batch, 3, side, side] if layout == "NCHW" else [batch, side, side, 3]
    axes = [2, 3] if layout == "NCHW" else [1, 2]
    nodes = [
        helper.make_node("Cast", ["image"], ["pixels"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["pixels"], ["means"], axes=axes, keepdims=0),
        helper.make_node("Mul", ["means", "gain"], ["logits"]),
    ]
    constants = [numpy_helper.from_array(np.asarray(gain, np.float32), "gain")]
    return _model(nodes, constants, helper.make_tensor_value_info("image", dtype, shape), [batch, 3])


def slow_graph(rounds: int) -> onnx.ModelProto:
    """As `colour_graph`, after `rounds` products of 512 x 512 matrices (about 1 ms each on one core)."""
    side = 512
    body = helper.make_graph(
        [
            helper.make_node("MatMul", ["carried", "matrix"], ["product"]),
            helper.make_node("Identity", ["go_on"], ["still_on"]),
        ],
        "round",
        [
            helper.make_tensor_value_info("i", TensorProto.INT64, []),
            helper.make_tensor_value_info("go_on", TensorProto.BOOL, []),
            helper.make_tensor_value_info("carried", TensorProto.FLOAT, [side, side]),
        ],
        [
            helper.make_tensor_value_info("still_on", TensorProto.BOOL, []),
            helper.make_tensor_value_info("product", TensorProto.FLOAT, [side, side]),
        ],
    )
    nodes = [
        helper.make_node("ReduceMean", ["image"], ["means"], axes=[2, 3], keepdims=0),
        helper.make_node("ReduceMean", ["image"], ["mean"], keepdims=0),
        helper.make_node("Add", ["matrix", "mean"], ["seed"]),
        helper.make_node("Loop", ["rounds", "always", "seed"], ["worked"], body=body),
        helper.make_node("ReduceMax", ["worked"], ["most"], keepdims=0),
        helper.make_node("Mul", ["most", "zero"], ["nothing"]),
        helper.make_node("Add", ["means", "nothing"], ["logits"]),
    ]
    constants = [
        numpy_helper.from_array(np.asarray(rounds, np.int64), "rounds"),
        numpy_helper.from_array(np.asarray(True, np.bool_), "always"),
        numpy_helper.from_array(np.full((side, side), 1 / side, np.float32), "matrix"),
        numpy_helper.from_array(np.asarray(0, np.float32), "zero"),
    ]
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, ["batch", 3, SIDE, SIDE])
    return _model(nodes, constants, image, ["batch", 3])


def slow_when_bright_graph(rounds: int) -> onnx.ModelProto:
    """As `slow_graph` for a white picture; fast for a black one and for noise, which warm-up and checks use."""
    model = slow_graph(rounds)
    graph = model.graph
    [most] = [tensor for tensor in graph.initializer if tensor.name == "rounds"]
    most.name = "most_rounds"
    graph.initializer.append(numpy_helper.from_array(np.asarray(1.5, np.float32), "stretch"))
    first, rest = list(graph.node[:2]), list(graph.node[2:])
    del graph.node[:]
    graph.node.extend(
        [
            *first,
            helper.make_node("ReduceMin", ["image"], ["darkest"], keepdims=0),
            helper.make_node("Mul", ["darkest", "stretch"], ["stretched"]),
            helper.make_node("Cast", ["stretched"], ["bright"], to=TensorProto.INT64),
            helper.make_node("Mul", ["bright", "most_rounds"], ["rounds"]),
            *rest,
        ]
    )
    onnx.checker.check_model(model)
    return model


def stuck_on_red_graph() -> onnx.ModelProto:
    """As `slow_graph`, running for hours on a picture a third as bright as white, and without a round on others."""
    model = slow_graph(rounds=0)
    graph = model.graph
    [rounds] = [constant for constant in graph.initializer if constant.name == "rounds"]
    graph.initializer.remove(rounds)
    for name, number in (("third", 1 / 3), ("near", 0.1), ("most_rounds", 1e9)):
        graph.initializer.append(numpy_helper.from_array(np.asarray(number, np.float32), name))
    nodes = list(graph.node)
    at = [node.op_type for node in nodes].index("Loop")
    nodes[at:at] = [
        helper.make_node("Sub", ["mean", "third"], ["off"]),
        helper.make_node("Abs", ["off"], ["distance"]),
        helper.make_node("Sub", ["near", "distance"], ["nearness"]),
        helper.make_node("Relu", ["nearness"], ["positive"]),
        helper.make_node("Mul", ["positive", "most_rounds"], ["many"]),
        helper.make_node("Cast", ["many"], ["rounds"], to=TensorProto.INT64),
    ]
    del graph.node[:]
    graph.node.extend(nodes)
    return model


def not_a_number_graph() -> onnx.ModelProto:
    """Finite logits for a dark picture (as in warm-up), and NaN for a bright one."""
    nodes = [
        helper.make_node("ReduceMean", ["image"], ["means"], axes=[2, 3], keepdims=0),
        helper.make_node("Sub", ["one", "means"], ["rest"]),
        helper.make_node("Log", ["rest"], ["logits"]),
    ]
    constants = [numpy_helper.from_array(np.asarray(0.5, np.float32), "one")]
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, ["batch", 3, SIDE, SIDE])
    return _model(nodes, constants, image, ["batch", 3])


def with_second_input(
    graph: onnx.ModelProto, name: str = "mask", shape: Sequence[int | str] = (1, 1)
) -> onnx.ModelProto:
    """Adds an unused input to the graph."""
    graph.graph.input.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, shape))
    onnx.checker.check_model(graph)
    return graph


def vector_graph(length: int = 3) -> onnx.ModelProto:
    """Takes a (1, `length`) tensor, not a picture, and returns it."""
    nodes = [helper.make_node("Identity", ["image"], ["logits"])]
    return _model(nodes, [], helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, length]), [1, length])


def wide_graph(least_width: int) -> onnx.ModelProto:
    """As `colour_graph` for 48 rows and any width of `least_width` or more; a run on a narrower picture fails."""
    nodes = [
        helper.make_node("ReduceMean", ["image"], ["columns"], axes=[2], keepdims=0),
        helper.make_node("AveragePool", ["columns"], ["pooled"], kernel_shape=[least_width]),
        helper.make_node("ReduceMean", ["pooled"], ["logits"], axes=[2], keepdims=0),
    ]
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, ["batch", 3, 48, "width"])
    return _model(nodes, [], image, ["batch", 3])


def weighted_graph(op: str) -> onnx.ModelProto:
    """`op` ("MatMul", "Add") on a 512 x 512 picture and a weight of that size."""
    weight = numpy_helper.from_array(np.random.default_rng(0).random((512, 512), np.float32), "weight")
    nodes = [
        helper.make_node(op, ["image", "weight"], ["made"]),
        helper.make_node("ReduceMean", ["made"], ["logits"], axes=[2, 3], keepdims=0),
    ]
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, ["batch", 3, 512, 512])
    return _model(nodes, [weight], image, ["batch", 3])


def two_output_graph() -> onnx.ModelProto:
    """`logits` as `colour_graph`, and `opposite`, which is highest for the colour a picture has least of."""
    graph = colour_graph()
    graph.graph.node.append(helper.make_node("Neg", ["logits"], ["opposite"]))
    graph.graph.output.append(helper.make_tensor_value_info("opposite", TensorProto.FLOAT, ["batch", 3]))
    onnx.checker.check_model(graph)
    return graph


def solid_png(colour: str, width: int = 16, height: int = 12) -> bytes:
    """A picture of one colour, by Pillow's name for it."""
    buffer = BytesIO()
    Image.new("RGB", (width, height), colour).save(buffer, "PNG")
    return buffer.getvalue()


def with_weights_beside(location: str) -> onnx.ModelProto:
    """`colour_graph` with its only weight in an external file, which is missing."""
    graph = colour_graph()
    gain = graph.graph.initializer[0]
    gain.ClearField("raw_data")
    gain.data_location = TensorProto.EXTERNAL
    entry = gain.external_data.add()
    entry.key, entry.value = "location", location
    return graph


def add_model(
    models: Path,
    name: str,
    graph: onnx.ModelProto,
    *,
    version: int = 1,
    spec: str = SPEC,
    labels: Sequence[str] | None = COLOURS,
) -> Path:
    """Writes the graph, `model.toml` and `labels.txt` as a model of the repository; returns its folder."""
    folder = models / name
    (folder / str(version)).mkdir(parents=True, exist_ok=True)
    (folder / str(version) / "model.onnx").write_bytes(graph.SerializeToString())
    (folder / "model.toml").write_text(spec)
    if labels is not None:
        (folder / "labels.txt").write_text("\n".join(labels) + "\n")
    return folder


def _model(
    nodes: list[onnx.NodeProto],
    constants: list[onnx.TensorProto],
    image: onnx.ValueInfoProto,
    output_shape: list[int | str],
) -> onnx.ModelProto:
    logits = helper.make_tensor_value_info("logits", TensorProto.FLOAT, output_shape)
    graph = helper.make_graph(nodes, "tiny", [image], [logits], constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", _OPSET)], ir_version=8)
    onnx.checker.check_model(model)
    return model
