"""/v1/vision: which model answers, fields, keys in forms, errors. tests/e2e has the clients."""

from typing import Any

import httpx
import pytest

from tests.engine.tasks.real_models import PHOTOS
from tests.engine.tasks.test_detectors_on_photos import FILES
from tests.pictures_by_colour import colour_picture
from tests.server import Server

RED = colour_picture("red")
DETECTION = "/v1/vision/detection"
Files = dict[str, Any]


def send(client: httpx.Client, path: str = DETECTION, **fields: str) -> httpx.Response:
    return client.post(path, files={"image": ("image.jpg", RED, "image/jpeg")}, data=fields)


def test_detection_is_answered_by_the_first_detector(client: httpx.Client) -> None:
    answer = send(client, min_confidence="0.3").json()
    assert answer.pop("inferenceMs") <= answer.pop("processMs")
    assert answer == {
        "success": True,
        "predictions": [
            {"label": "cat", "confidence": 0.9, "x_min": 5, "y_min": 3, "x_max": 20, "y_max": 22},
            {"label": "dog", "confidence": 0.5, "x_min": 0, "y_min": 0, "x_max": 32, "y_max": 24},
        ],
        "count": 2,
        "code": 200,
    }
    assert send(client, min_confidence="0.6").json()["count"] == 1
    assert send(client, "/v1/vision/custom/boxes", min_confidence="0.6").json()["count"] == 1
    assert send(client, "/v1/vision/custom/pose").json()["count"] == 1


def test_faces_are_answered_by_the_face_detector(client: httpx.Client) -> None:
    picture = (PHOTOS / FILES[0]).read_bytes()
    answer = client.post("/v1/vision/face", files={"image": picture}).json()
    assert answer["success"]
    assert {one["label"] for one in answer["predictions"]} == {"face"}


def test_models_are_listed(client: httpx.Client) -> None:
    for method in ("GET", "POST"):
        answer = client.request(method, "/v1/vision/custom/list").json()
        assert answer["success"]
        assert {"colour", "boxes", "yunet"} <= set(answer["models"])


@pytest.mark.parametrize(
    "files",
    [{"image": RED}, {"image": ("", RED)}, {"upload": ("snap.jpg", RED)}],
    ids=["name of the field", "empty filename", "another field"],
)
def test_forms_of_different_products_are_understood(client: httpx.Client, files: Files) -> None:
    fields = {"api_key": "", "min_confidence": "", "typedetect": "x" * 5000}
    assert client.post(DETECTION, files=files, data=fields).json()["success"]


@pytest.mark.parametrize(
    ("path", "sent", "status", "code"),
    [
        (DETECTION, {"content": RED}, 400, "no_picture"),
        (DETECTION, {"files": {"min_confidence": (None, "0.5")}}, 400, "no_picture"),
        (DETECTION, {"files": {"image": b"hello"}}, 400, "undecodable_image"),
        (DETECTION, {"files": {"image": bytes(200_001)}}, 413, "too_many_bytes"),
        (DETECTION, {"files": {"image": RED}, "data": {"min_confidence": "2"}}, 422, "invalid_parameter"),
        (DETECTION, {"files": {"image": RED}, "data": {"min_confidence": "nan"}}, 422, "invalid_parameter"),
        (DETECTION, {"files": {"image": RED}, "data": {"min_confidence": "1" * 5000}}, 413, "too_many_bytes"),
        ("/v1/vision/custom/colour", {"files": {"image": RED}}, 400, "invalid_request"),
        ("/v1/vision/custom/nope", {"files": {"image": RED}}, 404, "unknown_model"),
    ],
)
def test_error_has_the_members_that_clients_read(
    client: httpx.Client, path: str, sent: dict[str, Any], status: int, code: str
) -> None:
    response = client.post(path, **sent)
    problem = response.json()
    assert (response.status_code, problem["code"]) == (status, status), problem
    assert (problem["success"], problem["error"]) == (False, problem["detail"])
    metrics = client.get("/metrics").text
    assert f'fovea_errors_total{{code="{code}"}}' in metrics


def test_service_without_a_detector_says_so(server: Server) -> None:
    for address, things in ((DETECTION, "objects"), ("/v1/vision/face", "faces")):
        assert f"No model here detects {things}" in send(server.client, address).json()["error"]


def test_key_may_be_in_the_form(keyed: httpx.Client) -> None:
    address = "/v1/vision/custom/colour"
    assert send(keyed, address, api_key="sesame").status_code == 400  # it detects nothing, but the key is right
    assert send(keyed, address, api_key="wrong").status_code == 403
    assert send(keyed, address).status_code == 401
    assert keyed.post(address, content=RED).status_code == 401
    assert keyed.get("/v1/vision/custom/list").status_code == 401
    listed = keyed.post("/v1/vision/custom/list", files={"api_key": (None, "sesame")})
    assert listed.json()["models"] == ["colour"]
    assert keyed.get("/v1/vision/custom/list", headers={"X-API-Key": "sesame"}).status_code == 200
