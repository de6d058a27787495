"""/v1/embeddings and /v1/models: forms of input and output, errors. tests/e2e has the real client."""

from base64 import b64decode, b64encode
from typing import Any

import httpx
import numpy as np
import pytest

from tests.pictures_by_colour import colour_picture

RED, GREEN = colour_picture("red"), colour_picture("lime")
TEXT = b64encode(RED).decode()
URI = f"data:image/png;base64,{TEXT}"


def embed(client: httpx.Client, given: object, **more: object) -> httpx.Response:
    return client.post("/v1/embeddings", json={"model": "vector", "input": given, **more})


def vectors(response: httpx.Response) -> list[Any]:
    assert response.status_code == 200, response.text
    body = response.json()
    assert body["object"] == "list"
    assert body["model"] == "vector"
    assert body["usage"] == {"prompt_tokens": 0, "total_tokens": 0}
    assert [one["index"] for one in body["data"]] == list(range(len(body["data"])))
    return [one["embedding"] for one in body["data"]]


@pytest.mark.parametrize(
    "given",
    [
        URI,
        [URI],
        {"image": TEXT},
        [{"image": URI}],
        {"type": "image_url", "image_url": {"url": URI}},
        [{"type": "image_url", "image_url": URI}],
    ],
)
def test_each_form_of_a_picture_gives_the_vector_of_infer(client: httpx.Client, given: object) -> None:
    wanted = client.post("/infer?model=vector", content=RED).json()["predictions"][0]["embedding"]
    assert vectors(embed(client, given)) == [wanted]
    [encoded] = vectors(embed(client, given, encoding_format="base64", dimensions=3))
    assert np.frombuffer(b64decode(encoded), "<f4").tolist() == np.float32(wanted).tolist()


def test_vectors_are_in_the_order_of_the_pictures(client: httpx.Client) -> None:
    green = f"data:;base64,{b64encode(GREEN).decode()}"
    found = vectors(embed(client, [URI, green, URI, green]))
    assert [int(np.argmax(vector)) for vector in found] == [0, 1, 0, 1]


@pytest.mark.parametrize(
    ("changed", "status", "code"),
    [
        ({"model": None}, 400, "invalid_request"),
        ({"model": "nope"}, 404, "unknown_model"),
        ({"model": "colour"}, 400, "invalid_request"),
        ({"input": None}, 400, "invalid_request"),
        ({"input": []}, 400, "invalid_request"),
        ({"input": "a text"}, 400, "invalid_request"),
        ({"input": TEXT}, 400, "invalid_request"),
        ({"input": [1, 2]}, 400, "invalid_request"),
        ({"input": [[1, 2]]}, 400, "no_picture"),
        ({"input": {"type": "text", "text": "x"}}, 400, "invalid_request"),
        ({"input": "https://example.com/cat.jpg"}, 400, "no_picture"),
        ({"input": {"image_url": {"url": "http://169.254.169.254/"}}}, 400, "no_picture"),
        ({"input": [URI, "data:;base64,abcd"]}, 400, "undecodable_image"),
        ({"input": [URI] * 5}, 413, "too_many_pictures"),
        ({"encoding_format": "hex"}, 400, "invalid_request"),
        ({"encoding_format": []}, 400, "invalid_request"),
        ({"dimensions": 2}, 400, "invalid_request"),
        ({"dimensions": "three"}, 400, "invalid_request"),
    ],
)
def test_error_has_the_members_of_both(
    client: httpx.Client, changed: dict[str, object], status: int, code: str
) -> None:
    response = client.post("/v1/embeddings", json={"model": "vector", "input": URI, **changed})
    problem = response.json()
    assert (response.status_code, problem["code"]) == (status, code), problem
    error = problem["error"]
    assert (error["message"], error["type"], error["code"]) == (problem["detail"], "invalid_request_error", code)
    assert TEXT[:20] not in problem["detail"]


def test_bad_picture_is_named_by_its_index(client: httpx.Client) -> None:
    detail = embed(client, [URI, URI, "data:;base64,abcd"]).json()["detail"]
    assert detail.startswith("Picture 2, counted from 0:")
    assert "input[1] is a URL" in embed(client, [URI, "http://x/"]).json()["detail"]


def test_models_are_listed_and_found(client: httpx.Client) -> None:
    listed = client.get("/v1/models").json()
    assert listed["object"] == "list"
    assert {"colour", "vector", "boxes"} <= {one["id"] for one in listed["data"]}
    one = client.get("/v1/models/colour").json()
    assert one in listed["data"]
    assert one["created"] > 0
    assert client.get("/v1/models/nope").json()["error"]["code"] == "unknown_model"


def test_key_is_needed(keyed: httpx.Client) -> None:
    assert keyed.get("/v1/models").json()["error"]["code"] == "no_key"
    assert keyed.get("/v1/models", headers={"Authorization": "Bearer sesame"}).status_code == 200
