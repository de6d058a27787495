"""Every model loader: shapes, concurrent runs, stopping, errors without paths."""

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from loaders.model_errors import ModelFileError, ModelRunError, ProviderError, RunStoppedError
from loaders.model_loader import create_model_loader, model_loader_names
from loaders.runtimes.base import ModelLoader, RunStop, SessionOptions
from loaders.tensors import TensorInfo
from tests.loaders.runtimes.conftest import write
from tests.tiny_models import SIDE, colour_graph, two_output_graph

RUNS = 64


def chain_graph(products: int) -> onnx.ModelProto:
    """Multiplies 1024 x 1024 matrices `products` times, one after another (about 20 ms each on one core)."""
    side = 1024
    nodes = [
        helper.make_node("ReduceMean", ["image"], ["mean"], keepdims=0),
        helper.make_node("Mul", ["matrix", "mean"], ["x0"]),
        *(helper.make_node("MatMul", [f"x{i}", f"x{i}"], [f"x{i + 1}"]) for i in range(products)),
        helper.make_node("ReduceMean", [f"x{products}"], ["logits"], keepdims=1),
    ]
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, ["batch", 3, SIDE, SIDE])
    logits = helper.make_tensor_value_info("logits", TensorProto.FLOAT, [1, 1])
    matrix = numpy_helper.from_array(np.full((side, side), 1 / side, np.float32), "matrix")
    graph = helper.make_graph(nodes, "chain", [image], [logits], [matrix])
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


def test_unknown_loader_error_lists_the_available() -> None:
    assert model_loader_names() == ("onnxruntime", "openvino")
    with pytest.raises(ValueError, match=r"'torch'.*onnxruntime, openvino"):
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
def test_inputs_have_numpy_dtypes(
    runtime: ModelLoader, tmp_path: Path, model: onnx.ModelProto, image: TensorInfo
) -> None:
    session = runtime.load(write(tmp_path, model), SessionOptions())
    assert session.inputs == (image,)
    assert session.outputs[0].name == "logits"
    assert session.on_cpu


def test_run_returns_outputs_by_name(runtime: ModelLoader, tmp_path: Path) -> None:
    session = runtime.load(write(tmp_path, two_output_graph()), SessionOptions())
    outputs = session.run({"image": np.ones((1, 3, SIDE, SIDE), np.float32)})
    assert {name: value.tolist() for name, value in outputs.items()} == {
        "logits": [[10.0] * 3],
        "opposite": [[-10.0] * 3],
    }


def test_concurrent_runs_return_their_own_outputs(runtime: ModelLoader, graph: Path) -> None:
    session = runtime.load(graph, SessionOptions(threads=2))
    tensors = [np.random.default_rng(i).random((1, 3, SIDE, SIDE), np.float32) for i in range(RUNS)]
    alone = [session.run({"image": tensor})["logits"] for tensor in tensors]
    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(lambda tensor: session.run({"image": tensor})["logits"], tensors))
    np.testing.assert_array_equal(together, alone)


@pytest.mark.parametrize("content", [b"", b"no graph", b"\x08\x07" + bytes(200)], ids=["empty", "text", "zeros"])
def test_error_of_broken_file_hides_its_folder(runtime: ModelLoader, graph: Path, content: bytes) -> None:
    graph.write_bytes(content)
    with pytest.raises(ModelFileError, match=r"^model\.onnx .+") as error:
        runtime.load(graph, SessionOptions())
    assert str(graph.parent) not in str(error.value)
    assert "\n" not in str(error.value)


def test_truncated_file_is_rejected(runtime: ModelLoader, graph: Path) -> None:
    graph.write_bytes(graph.read_bytes()[:-60])
    with pytest.raises(ModelFileError):
        runtime.load(graph, SessionOptions())


def test_error_of_missing_file_hides_its_folder(runtime: ModelLoader, tmp_path: Path) -> None:
    with pytest.raises(ModelFileError, match=r"^model\.onnx cannot be ") as error:
        runtime.load(tmp_path / "model.onnx", SessionOptions())
    assert str(tmp_path) not in str(error.value)


@pytest.mark.parametrize("linked", [False, True], ids=["real folder", "linked folder"])
def test_error_of_missing_weights_hides_the_folder(runtime: ModelLoader, tmp_path: Path, linked: bool) -> None:
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
        runtime.load(path, SessionOptions())
    assert str(tmp_path) not in str(error.value)


def test_run_without_stop_returns_outputs(runtime: ModelLoader, graph: Path) -> None:
    stop = RunStop()
    session = runtime.load(graph, SessionOptions())
    inputs = {"image": np.ones((1, 3, SIDE, SIDE), np.float32)}
    np.testing.assert_array_equal(session.run(inputs, stop)["logits"], session.run(inputs)["logits"])
    stop.stop()
    with pytest.raises(RunStoppedError):
        session.run(inputs, stop)


def test_stopped_run_ends_and_session_keeps_working(runtime: ModelLoader, tmp_path: Path) -> None:
    session = runtime.load(write(tmp_path, chain_graph(products=200)), SessionOptions())
    inputs = {"image": np.ones((1, 3, SIDE, SIDE), np.float32)}
    stop, other = RunStop(), RunStop()
    threading.Timer(0.1, stop.stop).start()
    with pytest.raises(RunStoppedError):
        session.run(inputs, stop)
    threading.Timer(0.1, other.stop).start()
    with pytest.raises(RunStoppedError, match="its client left"):
        session.run(inputs, other)


def test_failed_run_is_not_reported_as_stopped(runtime: ModelLoader, graph: Path) -> None:
    session = runtime.load(graph, SessionOptions())
    with pytest.raises(ModelRunError) as error:
        session.run({"image": np.ones((1, 3, SIDE), np.float32)}, RunStop())
    assert not isinstance(error.value, RunStoppedError)


def test_stop_ends_all_its_runs(runtime: ModelLoader, tmp_path: Path) -> None:
    session = runtime.load(write(tmp_path, chain_graph(products=200)), SessionOptions())
    inputs = {"image": np.ones((1, 3, SIDE, SIDE), np.float32)}
    stop = RunStop()
    with ThreadPoolExecutor(2) as pool:
        runs = [pool.submit(session.run, inputs, stop) for _ in range(2)]
        threading.Timer(0.1, stop.stop).start()
        assert [type(run.exception()) for run in runs] == [RunStoppedError] * 2


def test_unavailable_provider_is_an_error(runtime: ModelLoader, graph: Path) -> None:
    with pytest.raises(ProviderError, match=r"warp-drive did not come up; available here: .*CPU"):
        runtime.load(graph, SessionOptions(providers=("warp-drive", "cpu")))


def test_missing_input_is_an_error(runtime: ModelLoader, graph: Path) -> None:
    session = runtime.load(graph, SessionOptions())
    session.run({"image": np.ones((1, 3, SIDE, SIDE), np.float32)})
    with pytest.raises(ModelRunError):
        session.run({})


def test_input_may_be_read_only_and_not_contiguous(runtime: ModelLoader, graph: Path) -> None:
    picture = np.random.default_rng(0).random((1, SIDE, SIDE, 3), np.float32)
    session = runtime.load(graph, SessionOptions())
    expected = session.run({"image": np.ascontiguousarray(picture.transpose(0, 3, 1, 2))})
    picture.flags.writeable = False
    outputs = session.run({"image": picture.transpose(0, 3, 1, 2)})
    np.testing.assert_array_equal(outputs["logits"], expected["logits"])


def test_copies_of_inputs_live_as_long_as_the_run(runtime: ModelLoader, tmp_path: Path) -> None:
    """A read-only input is copied; the memory of a lost copy would be that of the next."""
    shape = [1, 3, 512, 512]
    infos = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name in ("one", "other", "difference")]
    graph = helper.make_graph(
        [helper.make_node("Sub", ["one", "other"], ["difference"])], "difference", infos[:2], infos[2:]
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    session = runtime.load(write(tmp_path, model), SessionOptions())
    for _ in range(3):  # the first memory is not used again
        inputs = {name: np.full(shape, value, np.float32) for name, value in (("one", 3), ("other", 1))}
        for tensor in inputs.values():
            tensor.flags.writeable = False
        assert (session.run(inputs)["difference"] == 2).all()


def test_joined_tensors_keep_the_names_of_the_graph(runtime: ModelLoader, tmp_path: Path) -> None:
    """A runtime may drop the Cast of float32 to float32 behind the input, and the Identity before the output."""
    model = colour_graph()
    model.graph.node.append(helper.make_node("Identity", ["logits"], ["copy"]))
    model.graph.output.append(helper.make_tensor_value_info("copy", TensorProto.FLOAT, ["batch", 3]))
    session = runtime.load(write(tmp_path, model), SessionOptions())
    assert [info.name for info in (*session.inputs, *session.outputs)] == ["image", "logits", "copy"]
    assert session.run({"image": np.ones((1, 3, SIDE, SIDE), np.float32)}).keys() == {"logits", "copy"}


def test_zeros_padded_before_a_max_pool_count(runtime: ModelLoader, tmp_path: Path) -> None:
    session = runtime.load(write(tmp_path, padded_pool_graph()), SessionOptions())
    logits = session.run({"image": np.full((1, 3, SIDE, SIDE), -1.0, np.float32)})["logits"]
    assert logits[0, 0, 0, 0] == 0.0  # the corner's window has padding; ONNX Runtime's Pad_Fusion makes it -1


@pytest.mark.parametrize("provider", ["cpu", "CPUExecutionProvider"])
def test_provider_has_a_short_and_a_full_name(runtime: ModelLoader, graph: Path, provider: str) -> None:
    session = runtime.load(graph, SessionOptions(providers=(provider,)))
    assert session.on_cpu
    assert len(session.providers) == 1
