"""NaN and infinity in the outputs of a model: an error or valid JSON, for every task and route."""

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from engine.models.load_policy import LoadPolicy
from loaders.model_loader import create_model_loader
from tests.engine.tasks.graphs import Outputs, Thing, yolo_masks, yolov8
from tests.pictures_by_colour import colour_picture
from tests.problems import assert_problem
from tests.server import service_settings, serving
from tests.tiny_models import add_model

BLACK, WHITE = colour_picture("black"), colour_picture("white")
THINGS = [Thing((8, 8, 24, 24), 1, 0.9)]
PREPROCESS = '\n[preprocess]\nresize = "stretch"\nsize = [64, 64]\nmean = [0.0]\nstd = [1.0]\n'
MASKS = yolo_masks(THINGS, np.ones((1, 2), np.float32), np.ones((2, 16, 16), np.float32))
HALF = {"out": np.array([[1, 2, 3]], np.float16)}
MODELS: dict[str, tuple[Outputs, str]] = {
    "classes": ({"out": np.array([[1, 2, 3]], np.float32)}, 'task = "image-classification"'),
    "half": (HALF, 'task = "image-classification"'),
    "double": ({"out": np.array([[1.0, 2, 3]])}, 'task = "image-classification"\nactivation = "none"'),
    "boxes": (yolov8(THINGS), 'task = "object-detection"\nhead = "yolov8"'),
    "masks": (MASKS, 'task = "image-segmentation"\nhead = "yolo-masks"\noutputs = ["output0", "output1"]'),
    "matte": ({"out": np.eye(8, dtype=np.float32)[None, None]}, 'task = "image-segmentation"\nhead = "matte"'),
    "vector": ({"out": np.array([[1, 2, 3]], np.float32)}, 'task = "image-feature-extraction"'),
    "raw": (HALF, 'task = "tensor"'),
}


def fading_graph(outputs: Outputs, brightness_makes: str) -> onnx.ModelProto:
    """A graph with `outputs` for a black picture; for a white one they are NaN (0 / 0) or infinity (n / 0)."""
    nodes = [
        helper.make_node("ReduceMean", ["image"], ["mean"], keepdims=0),
        helper.make_node("Sub", ["one", "mean"], ["dark"]),
        helper.make_node("Div", ["dark" if brightness_makes == "nan" else "one", "dark"], ["factor"]),
    ]
    constants = [numpy_helper.from_array(np.asarray(1, np.float32), "one")]
    infos = []
    for name, array in outputs.items():
        dtype = helper.np_dtype_to_tensor_dtype(array.dtype)
        nodes += [
            helper.make_node("Cast", ["factor"], [f"{name}_factor"], to=dtype),
            helper.make_node("Mul", [f"{name}_constant", f"{name}_factor"], [name]),
        ]
        constants.append(numpy_helper.from_array(array, f"{name}_constant"))
        infos.append(helper.make_tensor_value_info(name, dtype, array.shape))
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 3, 64, 64])
    graph = helper.make_graph(nodes, "fading", [image], infos, constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    return model


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    """A client of a server with all `MODELS`. A given loader skips the check processes, half a second per model."""
    models = tmp_path_factory.mktemp("models")
    for name, (outputs, spec) in MODELS.items():
        for version, word in ((1, "nan"), (2, "inf")):
            graph = fading_graph(outputs, word)
            add_model(models, name, graph, version=version, spec=spec + PREPROCESS, labels=None)
    settings = service_settings(models_dir=models, default_model="classes", load=LoadPolicy.ON_DEMAND)
    with serving(settings, model_loader=create_model_loader("onnxruntime")) as running:
        yield running.client


def strict(text: str) -> Any:  # noqa: ANN401 - any JSON
    """Parses JSON without Python's extensions NaN and Infinity."""

    def reject(word: str) -> None:
        raise AssertionError(f"{word} is not JSON")

    return json.loads(text, parse_constant=reject)


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("name", MODELS)
def test_nan_or_infinite_output_is_500(client: httpx.Client, name: str, version: int) -> None:
    query = f"?model={name}&version={version}"
    dark = client.post(f"/infer{query}", content=BLACK)
    assert dark.status_code == 200, dark.text
    assert strict(dark.text)["predictions"]
    detail = assert_problem(client.post(f"/infer{query}", content=WHITE), 500, "invalid_model_output")
    assert detail.startswith(f"{name} version {version}: ")


@pytest.mark.parametrize("name", MODELS)
def test_nan_output_in_a_batch_fails_only_its_own_picture(client: httpx.Client, name: str) -> None:
    files = [("images", ("p", picture)) for picture in (BLACK, WHITE, BLACK)]
    results = strict(client.post(f"/infer/batch?model={name}", files=files).text)["results"]
    assert [result.get("error", {}).get("code") for result in results] == [None, "invalid_model_output", None]
    streamed = client.post(f"/infer/batch?model={name}&stream=true", files=files).text.splitlines()
    lines = sorted((strict(line) for line in streamed), key=lambda line: line["index"])
    assert [line.get("error", {}).get("code") for line in lines] == [None, "invalid_model_output", None]


def test_base64_tensor_may_contain_nan_but_an_embedding_may_not(client: httpx.Client) -> None:
    raw = client.post("/infer?model=raw&version=1&encoding=base64", content=WHITE)
    [tensor] = strict(raw.text)["predictions"]
    assert np.isnan(np.frombuffer(base64.b64decode(tensor["data"]), "<f2")).all()
    assert tensor["dtype"] == "float16"
    vector = client.post("/infer?model=vector&version=1&encoding=base64", content=WHITE)
    assert_problem(vector, 500, "invalid_model_output")


def test_failing_model_of_several_is_named(client: httpx.Client) -> None:
    response = client.post("/infer?model=classes&model=vector&version=2&version=2", content=WHITE)
    assert assert_problem(response, 500, "invalid_model_output").startswith("classes version 2")


def test_model_with_nan_output_for_black_pictures_only_is_served(tmp_path: Path) -> None:
    """For example one that divides by the standard deviation of the pixels; a raw tensor may always contain NaN."""
    graph = fading_graph(MODELS["classes"][0], "nan")
    graph.graph.node[1].input[0] = "zero"  # dark = 0 - mean: 0 / 0 where there is no light
    graph.graph.initializer.append(numpy_helper.from_array(np.asarray(0, np.float32), "zero"))
    add_model(tmp_path, "spread", graph, spec=MODELS["classes"][1] + PREPROCESS, labels=None)
    nothing = fading_graph({"out": np.full((1, 3), np.nan, np.float32)}, "nan")
    add_model(tmp_path, "nothing", nothing, spec='task = "tensor"' + PREPROCESS, labels=None)
    settings = service_settings(models_dir=tmp_path, default_model="spread")
    with serving(settings, model_loader=create_model_loader("onnxruntime")) as server:
        assert server.client.post("/infer", content=WHITE).status_code == 200
        assert_problem(server.client.post("/infer", content=BLACK), 500, "invalid_model_output")
        assert server.client.post("/infer?model=nothing&encoding=base64", content=BLACK).status_code == 200
