"""The reader of .onnx files agrees with the `onnx` package, and rejects other files with one sentence."""

import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from loaders.model_errors import ModelFileError
from loaders.onnx import protobuf
from loaders.onnx.onnx_file import OnnxGraph, check_external_files, read_onnx
from loaders.tensors import TensorInfo
from tests.paths import ROOT
from tests.tiny_models import colour_graph, slow_graph

DEFAULT_MODEL = ROOT / "models" / "efficientnet-lite0" / "1" / "model.onnx"

Value = helper.make_tensor_value_info


def write(folder: Path, model: onnx.ModelProto | bytes) -> Path:
    path = folder / "model.onnx"
    path.write_bytes(model if isinstance(model, bytes) else model.SerializeToString())
    return path


def model_of(nodes: list[onnx.NodeProto], outputs: list[str], *weights: onnx.TensorProto) -> onnx.ModelProto:
    graph = helper.make_graph(
        nodes,
        "g",
        [Value("x", TensorProto.FLOAT16, [-1, 3, "h", None])],
        [Value(name, TensorProto.FLOAT, ["n", 2]) for name in outputs],
        list(weights),
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17), helper.make_opsetid("ai.x", 2)])


def external(location: str) -> onnx.TensorProto:
    tensor = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[1000, 1000])
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value=location)
    return tensor


def test_inputs_outputs_and_metadata_are_read(tmp_path: Path) -> None:
    weight = numpy_helper.from_array(np.zeros((5, 7), np.float16), "w")
    model = model_of([helper.make_node("MatMul", ["x", "w"], ["y"])], ["y"], weight)
    model.graph.input.append(Value("w", TensorProto.FLOAT16, [5, 7]))
    helper.set_model_props(model, {"names": "{0: 'Käse'}", "empty": ""})
    graph = read_onnx(write(tmp_path, model))
    assert graph == OnnxGraph(
        inputs=(TensorInfo("x", "float16", (None, 3, None, None)),),
        outputs=(TensorInfo("y", "float32", (None, 2)),),
        metadata={"names": "{0: 'Käse'}", "empty": ""},
        last_ops={"y": "MatMul"},
        external_files=(),
        weight_bytes={"MatMul": weight.ByteSize()},
    )


def test_real_model_is_read_like_the_onnx_package() -> None:
    graph, model = read_onnx(DEFAULT_MODEL), onnx.load(DEFAULT_MODEL)
    assert [i.name for i in graph.inputs] == [i.name for i in model.graph.input]
    assert graph.outputs == (TensorInfo("logits", "float32", (None, 1000)),)
    assert graph.last_ops == {"logits": "Gemm"}


def chain(*ops: str) -> list[onnx.NodeProto]:
    names = ["x", *(f"t{i}" for i in range(len(ops) - 1)), "y"]
    return [helper.make_node(op, [names[i]], [names[i + 1]]) for i, op in enumerate(ops)]


NORMALIZED = [
    helper.make_node("ReduceL2", ["x"], ["length"]),
    helper.make_node("Clip", ["length", "least"], ["clipped"]),
    helper.make_node("Expand", ["clipped", "shape"], ["expanded"]),
    helper.make_node("Div", ["x", "expanded"], ["y"]),
]


@pytest.mark.parametrize(
    ("nodes", "op"),
    [
        (chain("Relu", "Softmax"), "Softmax"),
        (chain("Softmax", "Cast", "Reshape", "Flatten", "Squeeze", "Identity"), "Softmax"),
        (chain("Sigmoid", "QuantizeLinear", "DequantizeLinear"), "Sigmoid"),
        ([*chain("Sigmoid")[:0], helper.make_node("Split", ["x"], ["a", "y"])], "Split"),
        (
            [
                helper.make_node("Sigmoid", ["x"], ["a"]),
                helper.make_node("Sigmoid", ["x"], ["b"]),
                helper.make_node("Concat", ["a", "b"], ["y"], axis=1),
            ],
            "Sigmoid",
        ),
        (
            [helper.make_node("Sigmoid", ["x"], ["a"]), helper.make_node("Concat", ["a", "x"], ["y"], axis=1)],
            "Concat",
        ),
        (NORMALIZED, "LpNormalization"),
        ([helper.make_node("Div", ["x", "least"], ["y"])], "Div"),
        ([helper.make_node("Identity", ["y"], ["y"])], None),
        ([], None),
    ],
)
def test_last_op_is_behind_reshaping_and_converting(
    tmp_path: Path, nodes: list[onnx.NodeProto], op: str | None
) -> None:
    assert read_onnx(write(tmp_path, model_of(nodes, ["y"]))).last_ops.get("y") == op


def test_sequence_output_has_dtype_sequence(tmp_path: Path) -> None:
    model = model_of([], ["y"])
    model.graph.output.append(helper.make_value_info("loss", helper.make_sequence_type_proto(
        helper.make_map_type_proto(TensorProto.INT64, helper.make_tensor_type_proto(TensorProto.FLOAT, None))
    )))  # fmt: skip
    assert read_onnx(write(tmp_path, model)).outputs[1] == TensorInfo("loss", "sequence", ())


def inside_a_subgraph(tensor: onnx.TensorProto) -> onnx.ModelProto:
    body = helper.make_graph([helper.make_node("Constant", [], ["c"], value=tensor)], "b", [], [])
    return model_of([helper.make_node("If", ["x"], ["y"], then_branch=body, else_branch=body)], ["y"])


@pytest.mark.parametrize("build", [lambda tensor: model_of([], ["y"], tensor), inside_a_subgraph])
def test_external_files_are_found_anywhere(
    tmp_path: Path, build: Callable[[onnx.TensorProto], onnx.ModelProto]
) -> None:
    path = write(tmp_path, build(external("model.onnx_data")))
    graph = read_onnx(path)
    assert graph.external_files == ("model.onnx_data",)
    with pytest.raises(ModelFileError, match="are missing"):
        check_external_files(path, graph)
    (tmp_path / "model.onnx_data").write_bytes(b"")
    check_external_files(path, graph)


@pytest.mark.parametrize(
    "location",
    ["/etc/passwd", "../secret", "a/../../secret", "..\\secret", "C:\\secret", "", "link", "folder/secret", "a\0b"],
)
def test_external_files_outside_the_folder_are_rejected(tmp_path: Path, location: str) -> None:
    (tmp_path / "secret").write_bytes(b"weights")
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "link").symlink_to(tmp_path / "secret")
    (folder / "folder").symlink_to(tmp_path, target_is_directory=True)
    path = write(folder, model_of([], ["y"], external(location)))
    with pytest.raises(ModelFileError, match="outside its folder") as error:
        check_external_files(path, read_onnx(path))
    assert str(tmp_path) not in str(error.value)


@pytest.mark.parametrize("location", [".", "x" * 5000, "loop"])
def test_external_paths_that_are_not_files_are_rejected(tmp_path: Path, location: str) -> None:
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    path = write(tmp_path, model_of([], ["y"], external(location)))
    with pytest.raises(ModelFileError):
        check_external_files(path, read_onnx(path))


def nested(depth: int) -> bytes:
    """Nested If graphs of that depth, encoded here because the `onnx` package limits the depth."""
    graph = b""
    for _ in range(depth):
        attribute = _message(6, graph)
        graph = _message(1, _message(5, attribute))
    return b"\x08\x08" + _message(7, graph)


def _message(number: int, content: bytes) -> bytes:
    length, digits = len(content), b""
    while length >= 0x80:
        digits += bytes([length & 0x7F | 0x80])
        length >>= 7
    return bytes([number << 3 | 2]) + digits + bytes([length]) + content


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "empty"),
        (b"not a model", "not an ONNX model"),
        (b"<html><body>404</body></html>", "web page"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 4\n", "git lfs pull"),
        (b"PK\x03\x04" + bytes(100), "not an ONNX model"),
        (bytes(1000), "not an ONNX model"),
        (b"\xff" * 1000, "not an ONNX model"),
        (b"\x08\x08", "no graph"),
        (b"\x08\x08" + _message(7, b""), "no graph"),
        (nested(1000), "nested too deeply"),
        (b"\x08\x08" + b"\x0b" * 100, "unknown kind"),
        (b"\x08\x08" + _message(7, _message(1, b"\x0a\x7fxx")), "longer than its message|middle of a field"),
        (b"\x08\x08\x3a" + b"\xff" * 9 + b"\x7f", "truncated"),
    ],
)
def test_file_that_is_not_a_model_is_named_for_what_it_is(tmp_path: Path, data: bytes, message: str) -> None:
    with pytest.raises(ModelFileError, match=message) as error:
        read_onnx(write(tmp_path, data))
    assert str(error.value).startswith("model.onnx ")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("kept", [0.01, 0.3, 0.9, 0.999])
def test_truncated_model_is_rejected(tmp_path: Path, kept: float) -> None:
    data = DEFAULT_MODEL.read_bytes()
    with pytest.raises(ModelFileError, match="truncated"):
        read_onnx(write(tmp_path, data[: int(len(data) * kept)]))


def test_missing_file_is_rejected(tmp_path: Path) -> None:
    with pytest.raises(ModelFileError, match=r"model\.onnx cannot be read: No such file"):
        read_onnx(tmp_path / "model.onnx")


def test_huge_declared_tensor_is_not_allocated(tmp_path: Path) -> None:
    tensor = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[1 << 40, 1 << 40])
    path = write(tmp_path, model_of([], ["y"], tensor))
    assert path.stat().st_size < 300
    assert read_onnx(path).outputs[0].name == "y"


SEEDS = [colour_graph().SerializeToString(), slow_graph(2).SerializeToString()[-3000:], nested(20),
         inside_a_subgraph(external("w")).SerializeToString()]  # fmt: skip


def read_or_reject(folder: Path, data: bytes) -> None:
    path = write(folder, data)
    try:
        check_external_files(path, read_onnx(path))
    except ModelFileError as error:
        assert "\n" not in str(error)  # noqa: PT017 - most inputs raise nothing


@given(data=st.binary(max_size=200))
def test_any_bytes_raise_model_file_error_alone(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    read_or_reject(tmp_path_factory.getbasetemp(), data)


@given(
    seed=st.sampled_from(SEEDS),
    edits=st.lists(st.tuples(st.floats(0, 1), st.integers(0, 255)), max_size=6),
    stop=st.floats(0, 1),
)
def test_damaged_model_raises_model_file_error_alone(
    tmp_path_factory: pytest.TempPathFactory, seed: bytes, edits: list[tuple[float, int]], stop: float
) -> None:
    data = bytearray(seed)
    for place, byte in edits:
        data[int(place * (len(data) - 1))] = byte
    read_or_reject(
        tmp_path_factory.getbasetemp(), bytes(data[: len(data) if stop > 0.5 else int(2 * stop * len(data))])
    )


def test_number_of_fields_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(protobuf, "_MAX_FIELDS", 1000)
    with pytest.raises(ModelFileError, match="too many fields"):
        read_onnx(write(tmp_path, b"\x08\x08" + struct.pack("BB", 0x18, 0) * 1001))
