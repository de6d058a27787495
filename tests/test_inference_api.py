"""POST /infer on a real server: predictions, response fields, timings, and replaced loaders."""

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import numpy as np
import pytest

from api.schemas import InferResponse
from loaders.images.base import ImageLoaderOptions, LeastSize, Picture
from loaders.images.pillow_loader import PillowImageLoader
from loaders.runtimes.base import ModelLoader, Session, SessionOptions
from tests import pictures
from tests.conftest import Serve
from tests.pictures_by_colour import colour_picture
from tests.problems import assert_problem
from tests.server import Server, request_lines, service_settings, serving
from utils.time_utils import STAGES, TOTAL

DATA = Path(__file__).parent / "data"
PHOTOS = json.loads((DATA / "photos" / "manifest.json").read_text())


@pytest.fixture(scope="module")
def real() -> Iterator[httpx.Client]:
    """A client of a service with the default model of this repository."""
    with serving(service_settings()) as running:
        yield running.client


def infer(client: httpx.Client, picture: bytes, query: str = "", name: str = "a.png") -> httpx.Response:
    return client.post(f"/infer{query}", files={"image": (name, picture)})


def test_form_and_raw_body_have_the_same_predictions(server: Server, red_png: bytes) -> None:
    form = infer(server.client, red_png).json()
    raw = server.client.post("/infer", content=red_png, headers={"Content-Type": "image/jpeg"}).json()
    assert form["predictions"] == raw["predictions"]
    assert form["image"]["filename"] == "a.png"
    assert raw["image"]["filename"] is None


def test_response_has_the_documented_fields(server: Server, red_png: bytes) -> None:
    response = infer(server.client, red_png)
    assert response.headers["content-type"] == "application/json"
    answer = InferResponse.model_validate(response.json())
    assert answer.model.model_dump() == {
        "name": "colour",
        "version": 1,
        "task": "image-classification",
        "precision": "exact",
    }
    assert response.json()["image"] == {"filename": "a.png", "format": "PNG", "width": 32, "height": 24}
    assert answer.predictions[0].model_dump()["label"] == "red"
    assert answer.request_id == response.headers["x-request-id"]


def test_the_answer_says_that_a_picture_has_transparent_pixels(server: Server) -> None:
    rgba = np.full((4, 4, 4), 255, np.uint8)
    assert "alpha" not in infer(server.client, pictures.encode(rgba, "PNG")).json()["image"]
    rgba[0, 0, 3] = 128
    assert infer(server.client, pictures.encode(rgba, "PNG")).json()["image"]["alpha"] is True


@pytest.mark.parametrize("colour", ["red", "green", "blue"])
def test_image_format_is_detected_from_the_content(server: Server, colour: str) -> None:
    picture = colour_picture("lime" if colour == "green" else colour, image_format="JPEG")
    response = server.client.post("/infer", files={"image": ("cat.png", picture, "image/png")})
    assert response.json()["predictions"][0]["label"] == colour
    assert response.json()["image"]["format"] == "JPEG"


def test_top_k_and_threshold_limit_predictions(server: Server, red_png: bytes) -> None:
    assert len(infer(server.client, red_png).json()["predictions"]) == 3
    assert len(infer(server.client, red_png, "?top_k=2").json()["predictions"]) == 2
    assert len(infer(server.client, red_png, "?threshold=0.5").json()["predictions"]) == 1


def test_response_header_and_log_show_the_same_timings(
    serve: Serve, red_png: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    response = infer(serve().client, red_png)
    timings = response.json()["timings_ms"]
    assert list(timings) == [*STAGES, TOTAL]
    assert all(ms > 0 for ms in timings.values())
    assert timings[TOTAL] >= sum(timings[stage] for stage in STAGES) * 0.99
    header = dict(entry.split(";dur=") for entry in response.headers["server-timing"].split(", "))
    assert {name: float(ms) for name, ms in header.items()} == pytest.approx(timings, rel=1e-5)
    logged = request_lines(caplog, response.json()["request_id"])[0]
    assert {stage: logged[f"{stage}_ms"] for stage in timings} == timings


def test_concurrent_requests_get_their_own_predictions(server: Server) -> None:
    colours = ["red", "lime", "blue"] * 40
    pictures = {colour: colour_picture(colour) for colour in set(colours)}
    with ThreadPoolExecutor(12) as clients:
        answers = clients.map(lambda colour: infer(server.client, pictures[colour]).json(), colours)
    labels = [answer["predictions"][0]["label"] for answer in answers]
    assert labels == [colour.replace("lime", "green") for colour in colours]


def test_default_model_recognises_labelled_photos(real: httpx.Client) -> None:
    """Every eighth; tests/engine/preprocessing/test_truth.py has all of them."""
    for photo in PHOTOS[::8]:
        answer = infer(real, (DATA / "photos" / photo["file"]).read_bytes()).json()
        assert answer["predictions"][0]["class_id"] in photo["accept"], photo["file"]


def test_model_and_version_are_chosen_by_query(server: Server, red_png: bytes) -> None:
    answer = infer(server.client, red_png, "?model=colour&version=1").json()
    assert (answer["model"]["name"], answer["model"]["version"]) == ("colour", 1)


def test_unknown_model_is_404_and_lists_available_models(server: Server, red_png: bytes) -> None:
    assert "colour" in assert_problem(infer(server.client, red_png, "?model=nope"), 404, "unknown_model")
    assert "version 1" in assert_problem(infer(server.client, red_png, "?version=7"), 404, "unknown_model")


class _AlwaysRed(PillowImageLoader):
    def load(self, data: bytes, at_least: LeastSize = None) -> Picture:  # noqa: ARG002 - the interface's signature
        return super().load(colour_picture("red"), at_least)


class _Broken(ModelLoader):
    @property
    def version(self) -> str:
        return "broken"

    def load(self, path: Path, options: SessionOptions) -> Session:
        raise RuntimeError(f"no {path} for {options}")


def test_given_image_loader_replaces_the_configured_one(tiny_models: Path) -> None:
    settings = service_settings(models_dir=tiny_models, default_model="colour")
    with serving(settings, image_loader=_AlwaysRed(ImageLoaderOptions())) as running:
        assert infer(running.client, colour_picture("blue")).json()["predictions"][0]["label"] == "red"


def test_failing_model_loader_is_live_and_not_ready(tiny_models: Path, red_png: bytes) -> None:
    settings = service_settings(models_dir=tiny_models, default_model="colour")
    with serving(settings, model_loader=_Broken()) as running:
        assert running.client.get("/health/live").status_code == 200
        assert_problem(running.client.get("/health/ready"), 503, "not_ready")
        response = infer(running.client, red_png)
        assert "RuntimeError" in assert_problem(response, 503, "model_unavailable")
        assert response.headers["retry-after"] == "5"
