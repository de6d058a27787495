"""/hf/{model}: the two forms of a request, the answers of each task, errors. tests/e2e has the real client."""

from base64 import b64decode, b64encode
from typing import Any

import httpx
import pytest

from tests.pictures_by_colour import colour_picture
from tests.server import until

RED = colour_picture("red")
TEXT = b64encode(RED).decode()


def send(client: httpx.Client, model: str, **parameters: object) -> Any:  # noqa: ANN401 - JSON
    response = client.post(f"/hf/{model}", json={"inputs": TEXT, "parameters": parameters})
    assert response.status_code == 200, response.text
    return response.json()


def test_raw_body_and_json_give_the_scores_of_infer(client: httpx.Client) -> None:
    wanted = client.post("/infer", content=RED).json()["predictions"]
    found = client.post("/hf/colour", content=RED, headers={"Content-Type": "image/png"})
    assert found.json() == [{"label": one["label"], "score": one["score"]} for one in wanted]
    assert found.headers["server-timing"].startswith("decode;")
    assert send(client, "colour") == found.json()
    assert send(client, "colour", top_k=1, threshold=None) == found.json()[:1]


def test_boxes_are_whole_pixels(client: httpx.Client) -> None:
    first, second = send(client, "boxes", threshold=0.3)
    assert first == {"label": "cat", "score": 0.9, "box": {"xmin": 5, "ymin": 3, "xmax": 20, "ymax": 22}}
    assert second["label"] == "dog"
    assert [one["label"] for one in send(client, "boxes", threshold=0.6)] == ["cat"]


def test_other_tasks_answer_as_their_pipelines(client: httpx.Client) -> None:
    [segment] = send(client, "panoptic")
    assert segment.keys() == {"label", "score", "mask"}
    assert b64decode(segment["mask"]).startswith(b"\x89PNG")
    assert send(client, "text") == [{"generated_text": "a"}]
    assert send(client, "depth").keys() == {"depth", "minimum", "maximum"}
    [vector] = send(client, "vector")
    assert vector == client.post("/infer?model=vector", content=RED).json()["predictions"][0]["embedding"]
    assert send(client, "text", threshold=1) == []


@pytest.mark.parametrize(
    ("path", "body", "status", "code"),
    [
        ("colour", {}, 400, "no_picture"),
        ("colour", {"inputs": 5}, 400, "no_picture"),
        ("colour", {"inputs": "https://example.com/cat.jpg"}, 400, "no_picture"),
        ("colour", {"inputs": {"image": TEXT}}, 400, "no_picture"),
        ("colour", {"inputs": "abcd"}, 400, "undecodable_image"),
        ("colour", {"inputs": b64encode(bytes(200_001)).decode()}, 413, "too_many_bytes"),
        ("colour", {"inputs": TEXT, "parameters": [1]}, 422, "invalid_parameter"),
        ("colour", {"inputs": TEXT, "parameters": {"top_k": 0}}, 422, "invalid_parameter"),
        ("colour", {"inputs": TEXT, "parameters": {"threshold": "NaN"}}, 422, "invalid_parameter"),
        ("colour", {"inputs": TEXT, "parameters": {"function_to_apply": "none"}}, 422, "invalid_parameter"),
        ("nope", {"inputs": TEXT}, 404, "unknown_model"),
    ],
)
def test_error_has_the_members_of_both(
    client: httpx.Client, path: str, body: dict[str, object], status: int, code: str
) -> None:
    response = client.post(f"/hf/{path}", json=body)
    problem = response.json()
    assert (response.status_code, problem["code"]) == (status, code), problem
    assert problem["error"] == problem["detail"]
    assert TEXT[:20] not in problem["detail"]


def test_health_is_200_once_the_model_is_loaded(client: httpx.Client) -> None:
    assert client.get("/hf/colour/health").status_code == 200
    assert client.get("/hf/nope/health").status_code == 404
    until(lambda: client.get("/hf/pose/health").status_code == 200)


def test_key_is_needed_for_pictures_and_health(keyed: httpx.Client) -> None:
    for address in ("/hf/colour", "/hf/colour/health"):
        method = "GET" if address.endswith("health") else "POST"
        assert keyed.request(method, address).status_code == 401
    answer = keyed.post("/hf/colour", content=RED, headers={"Authorization": "Bearer sesame"})
    assert answer.status_code == 200
