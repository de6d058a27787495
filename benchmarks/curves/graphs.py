"""Models of a given size with random weights, in a models folder."""

import shutil
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from benchmarks.models import DEFAULT_NAME, ROOT

_CLASSES, _WIDTH, _OPSET, _IR = 1000, 512, 17, 8
_LAYER_MB = _WIDTH * _WIDTH * 4 / 1e6


def write_model(folder: Path, name: str, megabytes: float, seed: int = 0) -> Path:
    """Writes a classifier of `megabytes` of weights and returns its graph. Each seed gives other weights."""
    graph = folder / name / "1" / "model.onnx"
    graph.parent.mkdir(parents=True)
    onnx.save_model(dense_graph(megabytes, seed), graph)
    for file in ("model.toml", "labels.txt"):
        shutil.copyfile(ROOT / "models" / DEFAULT_NAME / file, folder / name / file)
    return graph


def dense_graph(megabytes: float, seed: int = 0) -> onnx.ModelProto:
    """Means of the colours -> dense layers of 1 MB -> 1000 scores."""
    random = np.random.default_rng(seed)
    layers = max(1, round(megabytes / _LAYER_MB) - 2)  # the last layer has 2 MB
    shapes = [(3, _WIDTH), *((_WIDTH, _WIDTH),) * layers, (_WIDTH, _CLASSES)]
    nodes = [helper.make_node("ReduceMean", ["image"], ["hidden0"], axes=[2, 3], keepdims=0)]
    weights = []
    for i, shape in enumerate(shapes):
        values = random.standard_normal(shape, np.float32) / np.float32(shape[0] ** 0.5)
        weights.append(numpy_helper.from_array(values, f"weights{i}"))
        target = "logits" if i == len(shapes) - 1 else f"hidden{i + 1}"
        nodes.append(helper.make_node("MatMul", [f"hidden{i}", f"weights{i}"], [target]))
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, ["batch", 3, 224, 224])
    logits = helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", _CLASSES])
    graph = helper.make_graph(nodes, "dense", [image], [logits], weights)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", _OPSET)], ir_version=_IR)
