"""POST /explain: answers, pictures, targets, errors, deadlines, and clients that leave."""

import base64
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image

from api.problems import KINDS
from tests.api.telemetry.test_metrics import value
from tests.conftest import Serve
from tests.engine.explain.patch_models import SIDE, matte_graph, patch_graph, two_boxes_graph
from tests.odd_pictures import FOLDER, ODD_PICTURES
from tests.pictures import encode, rotated_twin, scene
from tests.problems import assert_problem
from tests.raw_http import connected, post
from tests.server import Server, request_lines, service_settings, serving, until
from tests.tiny_models import add_model, slow_graph, solid_png

INPUT = f'[preprocess]\nresize = "stretch"\nsize = [{SIDE}, {SIDE}]\nmean = [0.0]\nstd = [1.0]\n'
WIDTH, HEIGHT = 96, 64
SCENE = encode(scene(WIDTH, HEIGHT), "PNG")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    models = tmp_path_factory.mktemp("explained")
    classes = f'task = "image-classification"\n{INPUT}'
    add_model(models, "patch", patch_graph((5, 15), (40, 50)), spec=classes, labels=("patch", "rest"))
    boxes = f'task = "object-detection"\nhead = "boxes-scores"\noutputs = ["boxes", "scores"]\n{INPUT}'
    add_model(models, "boxes", two_boxes_graph(), spec=boxes, labels=("half",))
    vector = f'task = "image-feature-extraction"\n{INPUT}'
    add_model(models, "vector", patch_graph((5, 15), (40, 50)), spec=vector, labels=None)
    add_model(models, "raw", matte_graph(), spec=f'task = "tensor"\n{INPUT}', labels=None)
    add_model(models, "matte", matte_graph(), spec=f'task = "image-segmentation"\nhead = "matte"\n{INPUT}', labels=None)
    with serving(service_settings(models_dir=models, default_model="patch")) as running:
        yield running


@pytest.fixture(scope="module")
def client(server: Server) -> httpx.Client:
    return server.client


def heat(explanation: dict[str, Any]) -> Image.Image:
    return Image.open(BytesIO(base64.b64decode(explanation["heatmap"])))


def test_the_answer_names_target_method_and_passes(client: httpx.Client) -> None:
    answer = client.post("/explain?label=patch", files={"image": ("a.png", SCENE)})
    assert answer.status_code == 200
    body = answer.json()
    assert body["model"] == {"name": "patch", "version": 1, "task": "image-classification", "precision": "exact"}
    assert body["image"] == {"filename": "a.png", "format": "PNG", "width": WIDTH, "height": HEIGHT}
    explanation = body["explanation"]
    assert explanation["target"].keys() == {"label", "class_id", "score"}
    assert (explanation["target"]["label"], explanation["target"]["class_id"]) == ("patch", 0)
    expected = {"method": "occlusion", "fill": "blur", "passes": 98, "seed": None, "complete": True}
    assert explanation.items() >= expected.items()
    assert explanation["minimum"] <= explanation["maximum"]
    assert set(body["timings_ms"]) == {"decode", "preprocess", "queue", "inference", "postprocess", "total"}
    assert answer.headers["server-timing"].startswith("decode;dur=")
    assert body["request_id"] == answer.headers["x-request-id"]


def test_the_map_is_a_grey_png_of_the_upright_picture(client: httpx.Client) -> None:
    upright = scene(WIDTH, HEIGHT)
    data = rotated_twin(upright, "PNG", 6)
    explanation = client.post("/explain?label=patch", content=data).json()["explanation"]
    image = heat(explanation)
    assert (image.format, image.mode, image.size) == ("PNG", "L", (WIDTH, HEIGHT))
    levels = np.asarray(image)
    assert levels[explanation["peak"]["y"], explanation["peak"]["x"]] == 255
    same = client.post("/explain?label=patch", content=encode(upright, "PNG")).json()["explanation"]
    assert np.array_equal(np.asarray(heat(same)), levels)


def test_rise_depends_on_its_seed(client: httpx.Client) -> None:
    def explain(seed: int) -> dict[str, Any]:
        answer = client.post(f"/explain?method=rise&samples=20&seed={seed}&class_id=1", content=SCENE)
        found: dict[str, Any] = answer.json()["explanation"]
        return found

    one, same, other = explain(1), explain(1), explain(2)
    assert (one["method"], one["passes"], one["seed"]) == ("rise", 21, 1)
    assert one["heatmap"] == same["heatmap"]
    assert one["heatmap"] != other["heatmap"]


def test_a_box_is_explained(client: httpx.Client) -> None:
    target = client.post("/explain?model=boxes&box=0,0,40.5,64", content=SCENE).json()["explanation"]["target"]
    assert target["label"] == "half"
    assert target["box"] == {"xmin": 0, "ymin": 0, "xmax": 40.5, "ymax": 64}


def test_segments_and_similarities_are_explained(client: httpx.Client) -> None:
    assert client.post("/explain?model=matte", content=SCENE).json()["explanation"]["complete"]
    both = {"image": ("a", SCENE), "reference": ("b", SCENE)}
    target = client.post("/explain?model=vector", files=both).json()["explanation"]["target"]
    assert target == {"label": None, "class_id": None, "score": pytest.approx(1)}


@pytest.mark.parametrize("media_type", ["image/png", "image/jpeg", "image/webp"])
def test_accept_returns_the_picture_with_the_map(client: httpx.Client, media_type: str) -> None:
    exif = Image.Exif()
    exif[0x010E] = "a description"
    data = encode(scene(WIDTH, HEIGHT), "JPEG", exif=exif)
    answer = client.post("/explain?label=patch", content=data, headers={"Accept": media_type})
    assert answer.headers["content-type"] == media_type
    assert "server-timing" in answer.headers
    image = Image.open(BytesIO(answer.content))
    assert image.get_format_mimetype() == media_type
    assert (image.size, image.mode) == ((WIDTH, HEIGHT), "RGB")
    assert not image.getexif()
    assert b"description" not in answer.content


def test_an_overlay_keeps_the_picture_where_the_map_is_zero(client: httpx.Client) -> None:
    explanation = client.post("/explain?label=patch", content=SCENE).json()["explanation"]
    answer = client.post("/explain?label=patch", content=SCENE, headers={"Accept": "image/png"})
    drawn, levels = np.asarray(Image.open(BytesIO(answer.content))), np.asarray(heat(explanation))
    assert np.array_equal(drawn[levels == 0], scene(WIDTH, HEIGHT)[levels == 0])
    assert not np.array_equal(drawn[levels == 255], scene(WIDTH, HEIGHT)[levels == 255])


def test_transparent_pixels_are_white_in_an_overlay(client: httpx.Client) -> None:
    clear = encode(Image.new("RGBA", (WIDTH, HEIGHT), (9, 9, 9, 0)), "PNG")
    answer = client.post("/explain", content=clear, headers={"Accept": "image/png"})
    assert np.asarray(Image.open(BytesIO(answer.content))).max() == 255


@pytest.mark.parametrize(
    ("query", "detail"),
    [
        ("label=pitch", "did you mean 'patch'?"),
        ("class_id=2", "class ids are 0 to 1"),
        ("box=0,0,9,9", "box is for models that detect objects"),
        ("model=boxes&box=0,0,97,9", "not a box inside the picture, which has 96 x 64 pixels"),
        ("model=boxes&label=third", "no label 'third'"),
        ("model=vector", "send it as the form field 'reference'"),
        ("model=raw", "tensor cannot be explained; these tasks can: image-classification"),
    ],
)
def test_targets_that_do_not_fit_are_422(client: httpx.Client, query: str, detail: str) -> None:
    assert detail in assert_problem(client.post(f"/explain?{query}", content=SCENE), 422, "invalid_target")


@pytest.mark.parametrize(
    "query",
    [
        "method=grad-cam", "samples=0", "samples=1001", "seed=-1", "seed=1e9", "class_id=-1", "class_id=x", "top_k=3",
        "box=1,2,3", "box=1,2,3,4,5", "box=a,b,c,d", "box=nan,0,1,1", "box=-1,0,1,1", "box=1e3,0,1,1",
        "label=a&class_id=1",
    ],
)  # fmt: skip
def test_invalid_parameters_are_422(client: httpx.Client, query: str) -> None:
    assert_problem(client.post(f"/explain?{query}", content=SCENE), 422, "invalid_parameter")


def test_bad_pictures_and_forms_are_errors(client: httpx.Client) -> None:
    assert_problem(client.post("/explain", content=b"no picture"), 400, "undecodable_image")
    assert_problem(client.post("/explain", content=b""), 400, "empty_image")
    assert_problem(client.post("/explain?model=nope", content=SCENE), 404, "unknown_model")
    assert_problem(client.post("/explain", files={"images": SCENE}), 422, "unknown_field")
    only = assert_problem(client.post("/explain?model=vector", files={"reference": SCENE}), 400, "no_picture")
    assert "no field 'image'" in only
    twice = [("image", SCENE), ("reference", SCENE), ("reference", SCENE)]
    assert "more than one field 'reference'" in assert_problem(client.post("/explain", files=twice), 400, "no_picture")
    broken = {"image": SCENE, "reference": b"no picture"}
    assert_problem(client.post("/explain?model=vector", files=broken), 400, "undecodable_image")
    both = {"image": SCENE, "reference": SCENE}
    assert "'reference' is for embeddings" in assert_problem(client.post("/explain", files=both), 422, "invalid_target")


def test_a_side_that_a_format_cannot_hold_is_406(client: httpx.Client) -> None:
    long = encode(Image.new("RGB", (16_400, 1)), "PNG")
    answer = client.post("/explain", content=long, headers={"Accept": "image/webp"})
    assert "16,383 pixels a side" in assert_problem(answer, 406, "not_drawable")
    assert client.post("/explain", content=long, headers={"Accept": "image/png"}).status_code == 200


def test_odd_pictures_are_explained_or_rejected_as_by_infer(client: httpx.Client) -> None:
    for name, expected in ODD_PICTURES.items():
        data = (FOLDER / name).read_bytes()
        answer = client.post("/explain?method=rise&samples=1", content=data, headers={"Accept": "image/png"})
        if isinstance(expected, tuple):
            assert answer.status_code == 200, (name, answer.text)
            assert Image.open(BytesIO(answer.content)).size == expected[1:], name
        else:
            assert_problem(answer, KINDS[expected].status, KINDS[expected].code)


def test_keys_and_rate_limit_hold(serve: Serve) -> None:
    client = serve(keys=("one",), rate_limit="1/hour").client
    assert_problem(client.post("/explain", content=SCENE), 401, "no_key")
    headers = {"X-API-Key": "one"}
    assert client.post("/explain", content=SCENE, headers=headers).status_code == 200
    assert_problem(client.post("/explain", content=SCENE, headers=headers), 429, "rate_limited")


def test_the_log_line_names_method_and_passes(client: httpx.Client, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("INFO"):
        client.post("/explain?method=rise&samples=3", content=SCENE, headers={"X-Request-ID": "explained"})
        [line] = request_lines(caplog, "explained")
    expected = {"model": "patch", "version": "1", "explain_method": "rise", "passes": 4, "complete": True}
    assert line.items() >= expected.items()
    assert line["inference_ms"] > 0


@pytest.fixture
def slow(serve: Serve, tmp_path: Path) -> Server:
    """A model of some milliseconds a run: a thousand runs outlast a deadline of 700 ms."""
    add_model(tmp_path, "slow", slow_graph(rounds=8))
    return serve(models_dir=tmp_path, default_model="slow", concurrency=1, intra_op_threads=1)


def test_the_answer_at_the_deadline_is_incomplete(slow: Server) -> None:
    headers = {"X-Request-Timeout-Ms": "700"}
    answer = slow.client.post("/explain?method=rise&samples=1000", content=SCENE, headers=headers)
    explanation = answer.json()["explanation"]
    assert explanation["complete"] is False
    assert 2 <= explanation["passes"] < 1001


def test_a_deadline_before_the_first_masked_run_is_504(slow: Server) -> None:
    answer = slow.client.post("/explain", content=SCENE, headers={"X-Request-Timeout-Ms": "1"})
    assert_problem(answer, 504, "deadline_exceeded")


def test_a_client_that_leaves_cancels_its_explanation(slow: Server) -> None:
    with connected(slow.port) as connection:
        connection.sendall(post(SCENE, "/explain?method=rise&samples=1000"))
        until(lambda: value(slow.client, "fovea_requests_running", model="slow") == 1)
    left = {"route": "/explain", "method": "POST", "status": "499"}
    until(lambda: value(slow.client, "fovea_http_requests_total", **left) == 1)
    until(lambda: value(slow.client, "fovea_requests_running", model="slow") == 0)
    assert value(slow.client, "fovea_requests_waiting", model="slow") == 0


def test_other_requests_go_first(slow: Server) -> None:
    """Each is answered while the explanation still runs."""
    with connected(slow.port) as connection:
        connection.sendall(post(SCENE, "/explain?method=rise&samples=1000"))
        until(lambda: value(slow.client, "fovea_requests_running", model="slow") == 1)
        for _ in range(5):
            assert slow.client.post("/infer", content=solid_png("red")).status_code == 200
        answered = {"route": "/explain", "method": "POST", "status": "200"}
        assert value(slow.client, "fovea_http_requests_total", **answered) == 0
