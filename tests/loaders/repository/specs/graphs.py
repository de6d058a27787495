"""Tiny graphs with the inputs and outputs of an export. They can be read but not run."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from onnx import TensorProto, helper

from loaders.onnx.onnx_file import OnnxGraph, read_onnx
from loaders.repository.specs import ModelFiles, ResolvedSpec, resolve

Dims = Sequence[int | str | None]


def export(
    path: Path,
    inputs: Mapping[str, Dims],
    outputs: Mapping[str, Dims],
    *,
    dtype: int = TensorProto.FLOAT,
    output_dtype: int = TensorProto.FLOAT,
    last_op: str = "Gemm",
    metadata: Mapping[str, str] | None = None,
) -> OnnxGraph:
    """Writes a graph whose outputs all come from a `last_op`, and reads it back."""
    nodes = [helper.make_node(last_op, [next(iter(inputs))], [name]) for name in outputs]
    graph = helper.make_graph(
        nodes,
        "export",
        [helper.make_tensor_value_info(name, dtype, dims) for name, dims in inputs.items()],
        [helper.make_tensor_value_info(name, output_dtype, dims) for name, dims in outputs.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8, producer_name="test")
    helper.set_model_props(model, dict(metadata or {}))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(model.SerializeToString())
    return read_onnx(path)


OPEN_PICTURE: Dims = ("batch_size", "num_channels", "height", "width")


def classifier(path: Path, classes: int = 10, **options: object) -> OnnxGraph:
    """A graph as Optimum exports it: all dimensions of the picture are open."""
    return export(path, {"pixel_values": OPEN_PICTURE}, {"logits": ("batch_size", classes)}, **options)  # type: ignore[arg-type]  # passed on


def understood(folder: Path, graph: OnnxGraph, files: Mapping[str, object] | None = None) -> ResolvedSpec:
    """Writes the files into `folder` (JSON unless they are text), and resolves the spec of the graph there."""
    for name, content in (files or {}).items():
        text = content if isinstance(content, str) else json.dumps(content)
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")
    return resolve(ModelFiles.of_folder(folder / "model.onnx", folder), graph)


def values(resolved: ResolvedSpec, *fields: str) -> list[object]:
    """Returns fields of the spec, by the paths of `decided_by`."""
    spec = resolved.spec
    return [getattr(spec.preprocess, f[11:]) if f.startswith("preprocess.") else getattr(spec, f) for f in fields]
