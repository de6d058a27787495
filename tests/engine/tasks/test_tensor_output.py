"""The tensor task: raw outputs."""

import base64
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest
from numpy.typing import NDArray

from engine.tasks.predictions import OutputTensor
from engine.tasks.task import Encoding, InvalidOutputError, PredictOptions
from loaders.images.base import Size
from loaders.repository.specs.model_spec import ModelSpec, Resize, TaskName
from tests.engine.tasks.graphs import Outputs, answer, frame_of

FRAME = frame_of(Size(10, 10), Resize.STRETCH)
OUTPUTS: Outputs = {
    "depth": np.array([[[0.1, 2.5], [-3, 4]]], np.float32),
    "count": np.array([7], np.int64),
    "found": np.array([[True, False]]),
}


def tensors(
    folder: Path, outputs: Outputs, encoding: Encoding = "list", names: tuple[str, ...] = ()
) -> list[OutputTensor]:
    spec = ModelSpec(task=TaskName.TENSOR, outputs=names)
    found = answer(folder, outputs, spec, FRAME, PredictOptions(encoding=encoding))
    return [tensor for tensor in found if isinstance(tensor, OutputTensor)]


def test_every_output_has_name_dtype_shape_and_data(tmp_path: Path) -> None:
    assert tensors(tmp_path, OUTPUTS) == [
        OutputTensor("depth", "float32", [1, 2, 2], [0.1, 2.5, -3, 4], "list"),
        OutputTensor("count", "int64", [1], [7], "list"),
        OutputTensor("found", "bool", [1, 2], [True, False], "list"),
    ]


def test_the_spec_chooses_outputs_and_their_order(tmp_path: Path) -> None:
    assert [t.name for t in tensors(tmp_path, OUTPUTS, names=("count", "depth"))] == ["count", "depth"]


@pytest.mark.parametrize("dtype", ["float32", "float16", "float64", "uint8", "int32", "bool"])
def test_base64_holds_the_bytes_of_the_tensor(dtype: str, tmp_path: Path) -> None:
    array: NDArray[Any] = np.array([[0, 1], [1, 0]]).astype(dtype)
    (found,) = tensors(tmp_path, {"out": array}, "base64")
    assert (found.dtype, found.shape, found.encoding) == (dtype, [2, 2], "base64")
    assert isinstance(found.data, str)
    little_endian = np.dtype(dtype).newbyteorder("<")
    np.testing.assert_array_equal(np.frombuffer(base64.b64decode(found.data), little_endian).reshape(2, 2), array)


def test_nan_is_an_error_in_a_list_and_kept_in_base64(tmp_path: Path) -> None:
    outputs: Outputs = {"out": np.array([1, np.nan, np.inf], np.float32)}
    with pytest.raises(InvalidOutputError, match="base64"):
        tensors(tmp_path, outputs)
    (found,) = tensors(tmp_path, outputs, "base64")
    assert isinstance(found.data, str)
    np.testing.assert_array_equal(np.frombuffer(base64.b64decode(found.data), "<f4"), outputs["out"])


def test_orjson_writes_a_tensor(tmp_path: Path) -> None:
    written = orjson.loads(orjson.dumps(tensors(tmp_path, {"count": np.array([7], np.int64)})))
    assert written == [{"name": "count", "dtype": "int64", "shape": [1], "data": [7], "encoding": "list"}]
