"""ONNX Runtime sessions of tiny graphs: shapes, threads, providers, stopping, errors without paths."""

import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from loaders.model_errors import ModelFileError, ModelRunError, ProviderError, RunStoppedError
from loaders.model_loader import create_model_loader, model_loader_names
from loaders.runtimes.base import RunStop, SessionOptions
from loaders.runtimes.onnxruntime_loader import OnnxRuntimeLoader
from loaders.tensors import TensorInfo
from tests.paths import ROOT
from tests.tiny_models import SIDE, add_model, colour_graph, slow_graph, two_output_graph

RUNS = 64
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


def padded_pool_graph() -> onnx.ModelProto:
    """A Pad with zeros, and a MaxPool behind it, as in BiT."""
    nodes = [
        helper.make_node("Pad", ["image", "pads"], ["padded"]),
        helper.make_node("MaxPool", ["padded"], ["logits"], kernel_shape=[3, 3], strides=[2, 2]),
    ]
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 3, SIDE, SIDE])
    logits = helper.make_tensor_value_info("logits", TensorProto.FLOAT, None)
    pads = helper.make_tensor("pads", TensorProto.INT64, [8], [0, 0, 1, 1] * 2)
    graph = helper.make_graph(nodes, "padded-pool", [image], [logits], [pads])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def write(tmp_path: Path, graph: onnx.ModelProto) -> Path:
    return add_model(tmp_path, "tiny", graph) / "1" / "model.onnx"


@pytest.fixture
def graph(tmp_path: Path) -> Path:
    return write(tmp_path, colour_graph())


def test_loader_has_the_runtime_version() -> None:
    assert create_model_loader("onnxruntime").version == f"onnxruntime {onnxruntime.__version__}"


def test_unknown_loader_error_lists_the_available() -> None:
    assert model_loader_names() == ("onnxruntime",)
    with pytest.raises(ValueError, match=r"'torch'.*onnxruntime"):
        create_model_loader("torch")


@pytest.mark.parametrize(
    ("model", "image"),
    [
        (colour_graph(), TensorInfo("image", "float32", (None, 3, SIDE, SIDE))),
        (colour_graph(batch=1, dtype=TensorProto.UINT8), TensorInfo("image", "uint8", (1, 3, SIDE, SIDE))),
        (colour_graph(side="s", dtype=TensorProto.FLOAT16), TensorInfo("image", "float16", (None, 3, None, None))),
        (colour_graph(dtype=TensorProto.DOUBLE), TensorInfo("image", "float64", (None, 3, SIDE, SIDE))),
    ],
)
def test_inputs_have_numpy_dtypes(tmp_path: Path, model: onnx.ModelProto, image: TensorInfo) -> None:
    session = OnnxRuntimeLoader().load(write(tmp_path, model), SessionOptions())
    assert session.inputs == (image,)
    assert session.outputs[0].name == "logits"
    assert session.providers == ("CPUExecutionProvider",)


def test_run_returns_outputs_by_name(tmp_path: Path) -> None:
    session = OnnxRuntimeLoader().load(write(tmp_path, two_output_graph()), SessionOptions())
    outputs = session.run({"image": np.ones((1, 3, SIDE, SIDE), np.float32)})
    assert {name: value.tolist() for name, value in outputs.items()} == {
        "logits": [[10.0] * 3],
        "opposite": [[-10.0] * 3],
    }


def test_zeros_padded_before_a_max_pool_count(tmp_path: Path) -> None:
    session = OnnxRuntimeLoader().load(write(tmp_path, padded_pool_graph()), SessionOptions())
    logits = session.run({"image": np.full((1, 3, SIDE, SIDE), -1.0, np.float32)})["logits"]
    assert logits[0, 0, 0, 0] == 0.0  # the corner's window has padding; ONNX Runtime's Pad_Fusion makes it -1


def test_concurrent_runs_return_their_own_outputs(graph: Path) -> None:
    session = OnnxRuntimeLoader().load(graph, SessionOptions(threads=2))
    tensors = [np.random.default_rng(i).random((1, 3, SIDE, SIDE), np.float32) for i in range(RUNS)]
    alone = [session.run({"image": tensor})["logits"] for tensor in tensors]
    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(lambda tensor: session.run({"image": tensor})["logits"], tensors))
    np.testing.assert_array_equal(together, alone)


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="counts threads in /proc")
@pytest.mark.parametrize("threads", [1, 2, 5])
def test_session_has_the_given_number_of_threads(graph: Path, threads: int) -> None:
    """The calling thread is one of them."""
    command = [sys.executable, "-c", COUNT_THREADS, str(graph), str(threads)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True, timeout=60)
    assert int(done.stdout) == threads - 1


@pytest.mark.parametrize("content", [b"", b"no graph", b"\x08\x07" + bytes(200)], ids=["empty", "text", "zeros"])
def test_error_of_broken_file_hides_its_folder(graph: Path, content: bytes) -> None:
    graph.write_bytes(content)
    with pytest.raises(ModelFileError, match=r"^model\.onnx cannot be loaded: .") as error:
        OnnxRuntimeLoader().load(graph, SessionOptions())
    assert str(graph.parent) not in str(error.value)
    assert "\n" not in str(error.value)


def test_truncated_file_is_rejected(graph: Path) -> None:
    graph.write_bytes(graph.read_bytes()[:-60])
    with pytest.raises(ModelFileError):
        OnnxRuntimeLoader().load(graph, SessionOptions())


def test_error_of_missing_file_hides_its_folder(tmp_path: Path) -> None:
    with pytest.raises(ModelFileError, match=r"^model\.onnx cannot be loaded") as error:
        OnnxRuntimeLoader().load(tmp_path / "model.onnx", SessionOptions())
    assert str(tmp_path) not in str(error.value)


@pytest.mark.parametrize("linked", [False, True], ids=["real folder", "linked folder"])
def test_error_of_missing_weights_hides_the_folder(tmp_path: Path, linked: bool) -> None:
    path = write(tmp_path / "real", colour_graph())
    model = onnx.load(path)
    weights = model.graph.initializer[0]
    weights.ClearField("raw_data")
    weights.data_location = TensorProto.EXTERNAL
    weights.external_data.add(key="location", value="weights.bin")
    path.write_bytes(model.SerializeToString())
    if linked:
        (tmp_path / "link").symlink_to(tmp_path / "real")
        path = tmp_path / "link" / path.relative_to(tmp_path / "real")
    with pytest.raises(ModelFileError) as error:
        OnnxRuntimeLoader().load(path, SessionOptions())
    assert str(tmp_path) not in str(error.value)


@pytest.mark.parametrize("provider", ["warp-drive", "tensorrt", "TensorrtExecutionProvider"])
def test_unavailable_provider_error_lists_the_available(graph: Path, provider: str) -> None:
    if "TensorrtExecutionProvider" in onnxruntime.get_available_providers():
        pytest.skip("TensorRT is here")
    with pytest.raises(ProviderError, match="CPUExecutionProvider") as error:
        OnnxRuntimeLoader().load(graph, SessionOptions(providers=(provider, "cpu")))
    assert error.value.requested in (provider, "TensorrtExecutionProvider")
    assert error.value.available == tuple(onnxruntime.get_available_providers())


@pytest.mark.parametrize("provider", ["cpu", "CPUExecutionProvider"])
def test_provider_has_a_short_and_a_full_name(graph: Path, provider: str) -> None:
    session = OnnxRuntimeLoader().load(graph, SessionOptions(providers=(provider,)))
    assert session.providers == ("CPUExecutionProvider",)


def test_provider_that_does_not_come_up_raises(graph: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The runtime itself would silently use the providers that came up."""
    monkeypatch.setattr(onnxruntime.InferenceSession, "get_providers", lambda _: ["OtherExecutionProvider"])
    with pytest.raises(ProviderError, match=r"CPUExecutionProvider did not come up.*OtherExecutionProvider"):
        OnnxRuntimeLoader().load(graph, SessionOptions(providers=("cpu",)))


@pytest.mark.skipif(not Path("/proc/self/status").is_file(), reason="reads memory in /proc")
def test_memory_is_flat_over_many_input_sizes(tmp_path: Path) -> None:
    """Memory follows the largest size; memory patterns of each size would add to it."""
    command = [sys.executable, "-c", RUN_MANY_SIZES, str(write(tmp_path, sizes_graph()))]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True, timeout=60)
    early, late = (float(word) for word in done.stdout.split())
    assert late < early + 8


def test_run_without_stop_returns_outputs(graph: Path) -> None:
    stop = RunStop()
    session = OnnxRuntimeLoader().load(graph, SessionOptions())
    inputs = {"image": np.ones((1, 3, SIDE, SIDE), np.float32)}
    np.testing.assert_array_equal(session.run(inputs, stop)["logits"], session.run(inputs)["logits"])
    stop.stop()
    with pytest.raises(RunStoppedError):
        session.run(inputs, stop)


def test_stopped_run_ends_and_session_keeps_working(tmp_path: Path) -> None:
    session = OnnxRuntimeLoader().load(write(tmp_path, slow_graph(rounds=1_000_000)), SessionOptions())
    inputs = {"image": np.ones((1, 3, SIDE, SIDE), np.float32)}
    stop, other = RunStop(), RunStop()
    threading.Timer(0.1, stop.stop).start()
    with pytest.raises(RunStoppedError):
        session.run(inputs, stop)
    threading.Timer(0.1, other.stop).start()
    with pytest.raises(RunStoppedError, match="its client left"):
        session.run(inputs, other)


def test_failed_run_is_not_reported_as_stopped(graph: Path) -> None:
    session = OnnxRuntimeLoader().load(graph, SessionOptions())
    with pytest.raises(ModelRunError) as error:
        session.run({"image": np.ones((1, 3, SIDE), np.float32)}, RunStop())
    assert not isinstance(error.value, RunStoppedError)


def test_stop_ends_all_its_runs(tmp_path: Path) -> None:
    session = OnnxRuntimeLoader().load(write(tmp_path, slow_graph(rounds=1_000_000)), SessionOptions())
    inputs = {"image": np.ones((1, 3, SIDE, SIDE), np.float32)}
    stop = RunStop()
    with ThreadPoolExecutor(2) as pool:
        runs = [pool.submit(session.run, inputs, stop) for _ in range(2)]
        threading.Timer(0.1, stop.stop).start()
        assert [type(run.exception()) for run in runs] == [RunStoppedError] * 2
