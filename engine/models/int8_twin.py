"""Checks that a model's 8-bit twin can stand in for its graph."""

from loaders.model_errors import ModelFileError
from loaders.onnx.onnx_file import check_external_files, read_onnx
from loaders.repository.model_repository import ModelVersion
from loaders.tensors import TensorInfo


def check_twin(version: ModelVersion) -> None:
    """Raises ModelFileError for a missing or unreadable twin, and for one with other inputs or outputs."""
    if version.twin is None:
        raise ModelFileError("there is no int8 twin")
    graph, twin = read_onnx(version.graph), read_onnx(version.twin)
    check_external_files(version.twin, twin)
    for kind, ours, theirs in (("inputs", graph.inputs, twin.inputs), ("outputs", graph.outputs, twin.outputs)):
        if len(ours) != len(theirs) or not all(map(_fits, ours, theirs)):
            names = ", ".join(f"{info.name} {info.dtype} {info.shape}" for info in theirs)
            raise ModelFileError(f"{version.twin.name} has other {kind} than {version.graph.name}: {names}")


def _fits(graph: TensorInfo, twin: TensorInfo) -> bool:
    """Quantisers may fill in sides that the graph leaves open."""
    same = (graph.name, graph.dtype, len(graph.shape)) == (twin.name, twin.dtype, len(twin.shape))
    return same and all(
        None in (one, other) or one == other for one, other in zip(graph.shape, twin.shape, strict=True)
    )
