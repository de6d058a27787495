"""The models that are served, in a folder of their own: the default one, its int8 twin, and one that costs nothing."""

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

# A graph to take as the int8 twin in place of our own quantisation's.
INT8_VARIABLE = "BENCH_INT8"

_CLASSES, _STEP, _OPSET = 1000, 32, 17


def prepare_models(folder: Path) -> list[Model]:
    """Writes the models into `folder`, laid out as a model repository; gives those that are there."""
    original = ROOT / "models" / DEFAULT_NAME
    _write(folder, "default", (original / "1" / "model.onnx").read_bytes())
    _write(folder, "no-cost", no_cost_graph().SerializeToString())
    there: list[Model] = ["default", "no-cost"]
    if int8 := _int8_twin(folder.parent):
        _write(folder, "int8", int8)
        there.append("int8")
    return there


def graph_of(folder: Path, model: Model) -> Path:
    return folder / NAMES[model] / "1" / "model.onnx"


def no_cost_graph() -> onnx.ModelProto:
    """1000 scores from one pixel in 32 x 32, in microseconds: the mean of red, green and blue are the first three."""
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
    if not target.exists() or target.read_bytes() != graph:  # the same file keeps the verdict of its check
        target.write_bytes(graph)
    for name in ("model.toml", "labels.txt"):
        shutil.copyfile(ROOT / "models" / DEFAULT_NAME / name, folder / NAMES[model] / name)


def _int8_twin(cache: Path) -> bytes | None:
    """The default model, quantised by `make quantize` on the photos of the tests; None when that fails."""
    given, folder = os.environ.get(INT8_VARIABLE), cache / "int8"
    if given:
        return Path(given).read_bytes()
    if not (folder / "model.onnx").exists():
        shutil.rmtree(folder, ignore_errors=True)
        command = [str(_PYTHON), "-m", "tools.quantize", "--out", str(folder), DEFAULT_NAME, str(_PHOTOS)]
        if subprocess.run(command, cwd=ROOT, check=False, stdout=sys.stderr).returncode:
            return None
    return (folder / "model.onnx").read_bytes()
