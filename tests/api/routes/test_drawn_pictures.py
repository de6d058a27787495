"""POST /infer with a picture's media type in Accept: the picture with the answer drawn on it."""

from io import BytesIO
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image

from engine.drawing import MEDIA_TYPES, Drawer
from engine.tasks.predictions import Box, Classification, Detection
from loaders.image_loader import create_image_loader
from tests.conftest import Serve
from tests.engine.tasks.graphs import TARGET, Thing, constant_graph, yolov8
from tests.paths import CAT
from tests.pictures import Pixels, encode, rotated_twin, scene
from tests.server import Server
from tests.tiny_models import add_model, colour_graph

PNG = {"Accept": "image/png"}
BOXES = 'task = "object-detection"\nhead = "yolov8"\n[preprocess]\nresize = "stretch"\n'
THINGS = [Thing((8, 16, 40, 48), 0, 0.9), Thing((30, 2, 60, 30), 2, 0.6)]


@pytest.fixture
def models(tmp_path: Path) -> Path:
    add_model(tmp_path, "boxes", constant_graph(yolov8(THINGS)), spec=BOXES, labels=("a", "b", "c"))
    add_model(tmp_path, "colour", colour_graph())
    spec = 'task = "image-feature-extraction"\n[preprocess]\nresize = "stretch"\nsize = [8, 8]\n'
    add_model(tmp_path, "vector", colour_graph(), spec=spec, labels=None)
    return tmp_path


def decoded(response: httpx.Response) -> Pixels:
    assert response.status_code == 200, response.text
    return np.asarray(Image.open(BytesIO(response.content)).convert("RGB"))


def detections(answer: dict[str, Any]) -> list[Detection]:
    return [Detection(**prediction | {"box": Box(**prediction["box"])}) for prediction in answer["predictions"]]


def test_the_drawn_picture_shows_the_numbers_of_the_json_answer(serve: Serve, models: Path) -> None:
    client = serve(models_dir=models, default_model="boxes").client
    data = encode(scene(400, 300), "PNG")
    answer = client.post("/infer", content=data).json()
    assert len(answer["predictions"]) == 2
    expected = Drawer()(create_image_loader("opencv").load(data), detections(answer))
    np.testing.assert_array_equal(decoded(client.post("/infer", content=data, headers=PNG)), expected)
    limited = client.post("/infer?threshold=0.7", content=data, headers=PNG)
    expected = Drawer()(create_image_loader("opencv").load(data), detections(answer)[:1])
    np.testing.assert_array_equal(decoded(limited), expected)


def test_a_scaled_jpeg_is_drawn_in_its_original_size(serve: Serve, models: Path) -> None:
    client = serve(models_dir=models, default_model="boxes").client
    data = encode(scene(8 * TARGET.width, 8 * TARGET.height), "JPEG", quality=95)
    answer = client.post("/infer", content=data).json()
    expected = Drawer()(create_image_loader("opencv").load(data), detections(answer))
    np.testing.assert_array_equal(decoded(client.post("/infer", content=data, headers=PNG)), expected)


def test_a_picture_rotated_by_exif_is_drawn_upright_without_metadata(server: Server) -> None:
    upright = scene(200, 120)
    rotated = server.client.post("/infer", content=rotated_twin(upright, "PNG", 6), headers=PNG)
    same = server.client.post("/infer", content=encode(upright, "PNG"), headers=PNG)
    np.testing.assert_array_equal(decoded(rotated), decoded(same))
    image = Image.open(BytesIO(rotated.content))
    assert image.size == (200, 120)
    assert not image.getexif()
    assert not image.info


@pytest.mark.parametrize("media_type", MEDIA_TYPES)
def test_accept_selects_the_format(server: Server, media_type: str) -> None:
    files = {"image": ("cat.jpg", CAT.read_bytes())}
    response = server.client.post("/infer", files=files, headers={"Accept": f"text/html;q=0.5, {media_type}"})
    assert response.headers["content-type"] == media_type
    assert "postprocess;dur=" in response.headers["server-timing"]
    image = Image.open(BytesIO(response.content))
    assert image.get_format_mimetype() == media_type
    assert image.size == (451, 300)


@pytest.mark.parametrize("accept", ["*/*", "application/json, image/png;q=0.9", "text/html"])
def test_other_clients_get_json(server: Server, red_png: bytes, accept: str) -> None:
    response = server.client.post("/infer", content=red_png, headers={"Accept": accept})
    assert response.headers["content-type"] == "application/json"


@pytest.mark.parametrize(
    ("query", "content", "status", "code"),
    [
        ("", b"no picture", 400, "undecodable_image"),
        ("?model=nope", None, 404, "unknown_model"),
        ("?model=vector", None, 406, "not_drawable"),
        ("?model=colour&model=boxes", None, 422, "invalid_parameter"),
        ("?top_k=0", None, 422, "invalid_parameter"),
    ],
)
def test_errors_are_problem_details(
    serve: Serve, models: Path, red_png: bytes, query: str, content: bytes | None, status: int, code: str
) -> None:
    client = serve(models_dir=models, default_model="colour").client
    response = client.post(f"/infer{query}", content=content or red_png, headers=PNG)
    assert response.status_code == status
    assert response.headers["content-type"] == "application/problem+json"
    assert response.json()["code"] == code


def test_a_list_of_labels_is_drawn_for_a_classifier(server: Server) -> None:
    data = encode(scene(200, 120), "PNG")
    answer = server.client.post("/infer", content=data).json()
    expected = Drawer()(
        create_image_loader("opencv").load(data), [Classification(**each) for each in answer["predictions"]]
    )
    np.testing.assert_array_equal(decoded(server.client.post("/infer", content=data, headers=PNG)), expected)
