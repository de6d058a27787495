"""A spec is completed by its graph, or rejected with a message that names both sides."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto

from engine.models.load import load_model
from engine.models.loaded_model import LoadedModel
from engine.tasks.task import Classification, PredictOptions
from loaders.images.base import ImageInfo, Picture
from loaders.model_errors import ModelError, ModelSpecError
from loaders.model_loader import create_model_loader
from loaders.repository.model_repository import ModelRepository
from loaders.repository.specs.model_spec import TaskName
from loaders.runtimes.base import SessionOptions
from tests.tiny_models import COLOURS, SIDE, add_model, colour_graph, two_output_graph, vector_graph, with_second_input

TASK = 'task = "image-classification"\n'
STRETCH = TASK + '[preprocess]\nresize = "stretch"\n'
SIZED = STRETCH + f"size = [{SIDE}, {SIDE}]\n"


def load(tmp_path: Path, graph: onnx.ModelProto, spec: str, *, version: int = 1) -> LoadedModel:
    add_model(tmp_path, "tiny", graph, spec=spec, version=version)
    found = ModelRepository(tmp_path).find("tiny")
    return load_model(found, create_model_loader("onnxruntime"), SessionOptions())


def answer(model: LoadedModel, colour: tuple[int, int, int]) -> str:
    pixels = np.full((12, 10, 3), colour, np.uint8)
    tensor = model.preprocessor(Picture(pixels, ImageInfo("PNG", 10, 12)))
    frame = model.preprocessor.frame(model.preprocessor.target)
    (best,) = model.task.postprocess(model.infer(tensor, frame), frame, PredictOptions(top_k=1))
    assert isinstance(best, Classification)
    return best.label


@pytest.mark.parametrize(
    ("graph", "spec", "layout", "dtype"),
    [
        (colour_graph(), STRETCH, "NCHW", "float32"),
        (colour_graph(layout="NHWC"), STRETCH, "NHWC", "float32"),
        (colour_graph(dtype=TensorProto.UINT8), STRETCH, "NCHW", "uint8"),
        (colour_graph(dtype=TensorProto.FLOAT16), STRETCH, "NCHW", "float16"),
        (colour_graph(layout="NHWC", dtype=TensorProto.UINT8), STRETCH, "NHWC", "uint8"),
        (colour_graph(batch=1), STRETCH, "NCHW", "float32"),
        (colour_graph(side="side"), SIZED, "NCHW", "float32"),
        (colour_graph(side="side", layout="NHWC"), SIZED, "NHWC", "float32"),
    ],
    ids=["NCHW", "NHWC", "uint8", "float16", "NHWC uint8", "batch of 1", "open size", "NHWC open size"],
)
def test_the_graph_completes_model_toml(
    tmp_path: Path, graph: onnx.ModelProto, spec: str, layout: str, dtype: str
) -> None:
    if dtype == "uint8":
        spec += "rescale_factor = 1.0\n"
    model = load(tmp_path, graph, spec)
    preprocess = model.spec.preprocess
    assert (preprocess.layout, preprocess.dtype, preprocess.size) == (layout, dtype, (SIDE, SIDE))
    assert [answer(model, rgb) for rgb in ((200, 90, 10), (10, 200, 90), (90, 10, 200))] == list(COLOURS)


def test_bgr_reverses_the_channels(tmp_path: Path) -> None:
    assert answer(load(tmp_path, colour_graph(), STRETCH + 'color = "BGR"\n'), (200, 90, 10)) == "blue"


def test_the_model_is_named_by_its_folder_version_and_task(tmp_path: Path) -> None:
    ref = load(tmp_path, colour_graph(), STRETCH, version=7).ref
    assert (ref.name, ref.version, ref.task) == ("tiny", 7, TaskName.IMAGE_CLASSIFICATION)


def test_a_named_output_is_read(tmp_path: Path) -> None:
    graph = two_output_graph()
    assert answer(load(tmp_path, graph, 'outputs = ["opposite"]\n' + STRETCH), (200, 90, 10)) == "blue"


@pytest.mark.parametrize(
    ("graph", "spec", "both_sides"),
    [
        (colour_graph(), STRETCH + "size = [9, 9]\n", ["? x 3 x 8 x 8", "1 x 3 x 9 x 9"]),
        (colour_graph(), STRETCH + 'color = "GRAY"\n', ["? x 3 x 8 x 8", "1 x 1 x 8 x 8"]),
        (colour_graph(), SIZED + 'layout = "NHWC"\n', ["? x 3 x 8 x 8", "1 x 8 x 8 x 3"]),
        (colour_graph(), STRETCH + 'dtype = "uint8"\n', ["takes float32", "prepares uint8"]),
        (colour_graph(dtype=TensorProto.INT32), STRETCH, ["image is int32", "float32"]),
        (with_second_input(colour_graph(), "input_ids"), STRETCH, ["needs text (input_ids)", "optimum-cli"]),
        (with_second_input(colour_graph(), "after", [1, 3, 8, 8]), STRETCH, ["needs a second picture (after)"]),
        (with_second_input(colour_graph()), STRETCH, ["input mask", "extra_inputs"]),
        (with_second_input(colour_graph()), 'input = "image"\n' + STRETCH, ["input mask", "extra_inputs"]),
        (vector_graph(), STRETCH, ["image has shape (1, 3)", "4 dimensions"]),
        (colour_graph(), 'input = "pixels"\n' + STRETCH, ["no input 'pixels'", "it has: image"]),
        (colour_graph(), 'outputs = ["scores"]\n' + STRETCH, ["no output 'scores'", "it has: logits"]),
        (colour_graph(), 'labels = ["one"]\n' + STRETCH, ["1 labels", "3 classes"]),
    ],
    ids=[
        "size", "channels", "layout", "dtype", "integers", "text", "second picture", "two inputs",
        "two inputs, one named", "vector", "input's name", "output's name", "labels",
    ],
)  # fmt: skip
def test_a_contradiction_is_rejected_with_both_sides(
    tmp_path: Path, graph: onnx.ModelProto, spec: str, both_sides: list[str]
) -> None:
    with pytest.raises(ModelSpecError) as error:
        load(tmp_path, graph, spec)
    assert [side for side in both_sides if side not in str(error.value)] == []
    assert str(tmp_path) not in str(error.value)


def test_a_graph_with_nan_outputs_is_not_loaded(tmp_path: Path) -> None:
    """A black picture times infinity."""
    with pytest.raises(ModelError, match="not finite"):
        load(tmp_path, colour_graph(gain=float("inf")), STRETCH)


def test_graph_without_inputs_is_rejected_in_words(tmp_path: Path) -> None:
    graph = colour_graph()
    del graph.graph.node[:], graph.graph.input[:]
    constant = onnx.numpy_helper.from_array(np.zeros((1, 3), np.float32))
    graph.graph.node.append(onnx.helper.make_node("Constant", [], [graph.graph.output[0].name], value=constant))
    with pytest.raises(ModelSpecError, match="the graph has no input, so"):
        load(tmp_path, graph, SIZED)
