"""The models of the benchmark: the default model, its int8 version, and one that costs nothing."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from benchmarks.scenarios import Model

ROOT = Path(__file__).parent.parent
DEFAULT_NAME = "efficientnet-lite0"
NAMES: dict[Model, str] = {"default": DEFAULT_NAME, "int8": f"{DEFAULT_NAME}-int8", "no-cost": "no-cost"}

_PYTHON = ROOT / ".venv" / "bin" / "python"
_PHOTOS = ROOT / "tests" / "data" / "photos"

# Variable with the path of an int8 graph to use instead of the one that `make quantize` makes.
INT8_VARIABLE = "BENCH_INT8"

_CLASSES, _STEP, _OPSET = 1000, 32, 17


def prepare_models(folder: Path) -> list[Model]:
    """Writes the models into `folder`, a model repository. Returns those that could be made."""
    there = prepare_float_models(folder)
    if int8 := _int8_twin(folder.parent):
        _write(folder, "int8", int8)
        there.append("int8")
    return there


def prepare_float_models(folder: Path) -> list[Model]:
    """Writes those that need no quantisation."""
    _write(folder, "default", (ROOT / "models" / DEFAULT_NAME / "1" / "model.onnx").read_bytes())
    _write(folder, "no-cost", no_cost_graph().SerializeToString())
    return ["default", "no-cost"]


def graph_of(folder: Path, model: Model) -> Path:
    return folder / NAMES[model] / "1" / "model.onnx"


def no_cost_graph() -> onnx.ModelProto:
    """1000 scores in microseconds: the first three are the means of red, green and blue of every 32nd pixel."""
    nodes = [
        helper.make_node("Slice", ["image", "start", "stop", "axes", "step"], ["few"]),
        helper.make_node("ReduceMean", ["few"], ["means"], axes=[2, 3], keepdims=0),
        helper.make_node("Pad", ["means", "pads", "low"], ["logits"]),
    ]
    constants = {
        "start": np.array([0, 0]),
        "stop": np.array([224, 224]),
        "axes": np.array([2, 3]),
        "step": np.array([_STEP, _STEP]),
        "pads": np.array([0, 0, 0, _CLASSES - 3]),
        "low": np.array(-10.0, np.float32),
    }
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, ["batch", 3, 224, 224])
    logits = helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", _CLASSES])
    initializers = [numpy_helper.from_array(value, name) for name, value in constants.items()]
    graph = helper.make_graph(nodes, "no-cost", [image], [logits], initializers)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", _OPSET)], ir_version=8)
    onnx.checker.check_model(model)
    return model


def _write(folder: Path, model: Model, graph: bytes) -> None:
    target = graph_of(folder, model)
    target.parent.mkdir(parents=True, exist_ok=True)
    if not target.exists() or target.read_bytes() != graph:  # an unchanged file is not checked again
        target.write_bytes(graph)
    for name in ("model.toml", "labels.txt"):
        shutil.copyfile(ROOT / "models" / DEFAULT_NAME / name, folder / NAMES[model] / name)


def _int8_twin(cache: Path) -> bytes | None:
    """The default model, quantised with the tests' photos; None if that fails."""
    given, folder = os.environ.get(INT8_VARIABLE), cache / "int8"
    if given:
        return Path(given).read_bytes()
    if not (folder / "model.onnx").exists():
        shutil.rmtree(folder, ignore_errors=True)
        command = [str(_PYTHON), "-m", "tools.quantize", "--out", str(folder), DEFAULT_NAME, str(_PHOTOS)]
        if subprocess.run(command, cwd=ROOT, check=False, stdout=sys.stderr).returncode:
            return None
    return (folder / "model.onnx").read_bytes()
