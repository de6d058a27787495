"""Tiny graphs with the inputs and outputs of an export; they are for reading, not for running."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from onnx import TensorProto, helper

from loaders.onnx_file import OnnxGraph, read_onnx

Dims = Sequence[int | str | None]


def export(
    path: Path,
    inputs: Mapping[str, Dims],
    outputs: Mapping[str, Dims],
    *,
    dtype: int = TensorProto.FLOAT,
    last_op: str = "Gemm",
    metadata: Mapping[str, str] | None = None,
) -> OnnxGraph:
    """Writes a graph whose outputs all come from a `last_op`, and reads it back."""
    nodes = [helper.make_node(last_op, [next(iter(inputs))], [name]) for name in outputs]
    graph = helper.make_graph(
        nodes,
        "export",
        [helper.make_tensor_value_info(name, dtype, dims) for name, dims in inputs.items()],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, dims) for name, dims in outputs.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8, producer_name="test")
    helper.set_model_props(model, dict(metadata or {}))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(model.SerializeToString())
    return read_onnx(path)


OPEN_PICTURE: Dims = ("batch_size", "num_channels", "height", "width")


def classifier(path: Path, classes: int = 10, **options: object) -> OnnxGraph:
    """As Optimum exports one: everything about the picture is left open."""
    return export(path, {"pixel_values": OPEN_PICTURE}, {"logits": ("batch_size", classes)}, **options)  # type: ignore[arg-type]
