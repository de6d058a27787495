"""Graphs whose batch is fixed above one answer one picture."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper

from loaders.model_errors import ModelFileError, ModelRunError
from loaders.runtimes.base import ModelLoader, Session, SessionOptions
from tests.loaders.runtimes.conftest import write
from tests.tiny_models import SIDE, colour_graph


def load(runtime: ModelLoader, folder: Path, model: onnx.ModelProto) -> Session:
    return runtime.load(write(folder, model), SessionOptions())


def test_batch_of_four_answers_as_a_batch_of_one(runtime: ModelLoader, tmp_path: Path) -> None:
    one, four = load(runtime, tmp_path, colour_graph(batch=1)), load(runtime, tmp_path, colour_graph(batch=4))
    assert (four.inputs, four.outputs) == (one.inputs, one.outputs)
    picture = {"image": np.random.default_rng(0).random((1, 3, SIDE, SIDE), np.float32)}
    np.testing.assert_array_equal(four.run(picture)["logits"], one.run(picture)["logits"])
    [note] = four.notes
    assert "batch is fixed at 4" in note
    assert "batch=1" in note


@pytest.mark.parametrize("batch", [1, "batch"])
def test_other_batches_have_no_note(runtime: ModelLoader, tmp_path: Path, batch: int | str) -> None:
    assert load(runtime, tmp_path, colour_graph(batch=batch)).notes == ()


def with_output(op: str, shape: list[int | str]) -> onnx.ModelProto:
    """Adds `mixed`, which has the values of four pictures in other rows."""
    model = colour_graph(batch=4)
    model.graph.node.append(helper.make_node(op, ["logits"], ["mixed"]))
    model.graph.output.append(helper.make_tensor_value_info("mixed", onnx.TensorProto.FLOAT, shape))
    return model


def test_output_of_other_rows_is_rejected_at_load(runtime: ModelLoader, tmp_path: Path) -> None:
    with pytest.raises(ModelFileError, match="its output mixed does not have one row a picture"):
        load(runtime, tmp_path, with_output("Transpose", [3, 4]))


def test_output_of_other_rows_is_rejected_in_the_run(runtime: ModelLoader, tmp_path: Path) -> None:
    model = with_output("NonZero", [2, "found"])
    model.graph.node[-1].output[0] = "columns"
    model.graph.node.append(helper.make_node("Transpose", ["columns"], ["mixed"]))
    model.graph.output[1].CopyFrom(helper.make_tensor_value_info("mixed", onnx.TensorProto.INT64, ["found", 2]))
    session = load(runtime, tmp_path, model)
    with pytest.raises(ModelRunError, match="its output mixed does not have one row a picture"):
        session.run({"image": np.ones((1, 3, SIDE, SIDE), np.float32)})
