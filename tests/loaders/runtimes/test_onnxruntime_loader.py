"""ONNX Runtime sessions: threads, providers, memory."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from loaders.model_errors import ProviderError
from loaders.model_loader import create_model_loader
from loaders.runtimes.base import SessionOptions
from loaders.runtimes.onnxruntime_loader import OnnxRuntimeLoader
from tests.loaders.runtimes.conftest import write
from tests.paths import ROOT

COUNT_THREADS = """
import os, sys
from pathlib import Path
from loaders.runtimes.base import SessionOptions
from loaders.runtimes.onnxruntime_loader import OnnxRuntimeLoader
loader = OnnxRuntimeLoader()
before = len(os.listdir("/proc/self/task"))
session = loader.load(Path(sys.argv[1]), SessionOptions(threads=int(sys.argv[2])))
print(len(os.listdir("/proc/self/task")) - before)
"""

# Prints the memory (MiB) after the first run, of the largest size, and after all of them.
RUN_MANY_SIZES = """
import sys
from pathlib import Path
import numpy as np
from loaders.runtimes.base import SessionOptions
from loaders.runtimes.onnxruntime_loader import OnnxRuntimeLoader
session = OnnxRuntimeLoader().load(Path(sys.argv[1]), SessionOptions())
sides = [(500, 500), (500, 500), *np.random.default_rng(0).integers(20, 500, (20, 2)).tolist()]
for i, (height, width) in enumerate(sides):
    session.run({"image": np.zeros((1, 3, height, width), np.float32)})
    if i in (0, len(sides) - 1):
        rss = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmRSS"))
        print(int(rss.split()[1]) / 1024)
"""


def sizes_graph() -> onnx.ModelProto:
    """Three convolutions over a picture of any size."""
    nodes, weights, name, depth = [], [], "image", 3
    for i in range(3):
        kernel = np.random.default_rng(i).random((16, depth, 3, 3), np.float32)
        weights.append(numpy_helper.from_array(kernel, f"kernel{i}"))
        nodes.append(helper.make_node("Conv", [name, f"kernel{i}"], [f"layer{i}"], pads=[1, 1, 1, 1]))
        nodes.append(helper.make_node("Sigmoid", [f"layer{i}"], [f"active{i}"]))
        name, depth = f"active{i}", 16
    nodes.append(helper.make_node("ReduceMean", [name], ["logits"], axes=[2, 3], keepdims=0))
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, ["batch", 3, "height", "width"])
    logits = helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", 16])
    graph = helper.make_graph(nodes, "sizes", [image], [logits], weights)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def test_loader_has_the_runtime_version() -> None:
    assert create_model_loader("onnxruntime").version == f"onnxruntime {onnxruntime.__version__}"


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="counts threads in /proc")
@pytest.mark.parametrize("threads", [1, 2, 5])
def test_session_has_the_given_number_of_threads(graph: Path, threads: int) -> None:
    """The calling thread is one of them."""
    command = [sys.executable, "-c", COUNT_THREADS, str(graph), str(threads)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True, timeout=60)
    assert int(done.stdout) == threads - 1


@pytest.mark.parametrize("provider", ["warp-drive", "tensorrt", "TensorrtExecutionProvider"])
def test_unavailable_provider_error_lists_the_available(graph: Path, provider: str) -> None:
    if "TensorrtExecutionProvider" in onnxruntime.get_available_providers():
        pytest.skip("TensorRT is here")
    with pytest.raises(ProviderError, match="CPUExecutionProvider") as error:
        OnnxRuntimeLoader().load(graph, SessionOptions(providers=(provider, "cpu")))
    assert error.value.requested in (provider, "TensorrtExecutionProvider")
    assert error.value.available == tuple(onnxruntime.get_available_providers())


def test_provider_that_does_not_come_up_raises(graph: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The runtime itself would silently use the providers that came up."""
    monkeypatch.setattr(onnxruntime.InferenceSession, "get_providers", lambda _: ["OtherExecutionProvider"])
    with pytest.raises(ProviderError, match=r"CPUExecutionProvider did not come up.*OtherExecutionProvider"):
        OnnxRuntimeLoader().load(graph, SessionOptions(providers=("cpu",)))


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").is_file(), reason="reads memory in /proc")
def test_memory_is_flat_over_many_input_sizes(tmp_path: Path) -> None:
    """Memory follows the largest size; memory patterns of each size would add to it."""
    command = [sys.executable, "-c", RUN_MANY_SIZES, str(write(tmp_path, sizes_graph()))]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True, timeout=60)
    early, late = (float(word) for word in done.stdout.split())
    assert late < early + 8
