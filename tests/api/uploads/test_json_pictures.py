"""Pictures in JSON: base64 and data URIs on /infer and /infer/batch."""

from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from api.problems import NoPictureError
from api.uploads.base64_pictures import decode_picture
from tests.pictures_by_colour import colour_picture
from tests.problems import assert_problem
from tests.server import Server, request_lines, service_settings, serving

LARGEST = 2000
JSON = {"Content-Type": "application/json"}
RED = colour_picture("red")
TEXT = b64encode(RED).decode()


@pytest.fixture(scope="module")
def client(tiny_models: Path) -> Iterator[httpx.Client]:
    settings = service_settings(models_dir=tiny_models, default_model="colour", max_upload_bytes=LARGEST)
    with serving(settings) as running:
        yield running.client


def wrapped(text: str) -> str:
    """As the command base64 writes it."""
    return "\n".join(text[start : start + 76] for start in range(0, len(text), 76)) + "\n"


@pytest.mark.parametrize(
    "picture",
    [TEXT, wrapped(TEXT), f"data:image/png;base64,{TEXT}", f"DATA:;base64,{TEXT}", f"data:x/y;charset=a;base64,{TEXT}"],
    ids=["base64", "wrapped", "data URI", "without type", "with parameters"],
)
def test_json_picture_is_answered_like_the_raw_body(client: httpx.Client, picture: str) -> None:
    raw = client.post("/infer?top_k=2", content=RED).json()
    answer = client.post("/infer?top_k=2", json={"image": picture})
    assert answer.status_code == 200, answer.text
    assert answer.json()["predictions"] == raw["predictions"]
    assert answer.json()["image"] == raw["image"]


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (b"", 422, "invalid_parameter"),
        (b"{", 422, "invalid_parameter"),
        (b"\xff", 422, "invalid_parameter"),
        (b"[" * 2000, 422, "invalid_parameter"),
        (b"[]", 422, "invalid_parameter"),
        (b"{}", 400, "no_picture"),
        (b'{"image": 5}', 400, "no_picture"),
        (b'{"image": null}', 400, "no_picture"),
        (b'{"image": []}', 400, "no_picture"),
        (b'{"image": "a"}', 400, "no_picture"),
        (b'{"image": "\xc3\xa4bcd"}', 400, "no_picture"),
        (b'{"image": "data:image/png,abcd"}', 400, "no_picture"),
        (b'{"image": ""}', 400, "empty_image"),
        (b'{"image": "abcd"}', 400, "undecodable_image"),
        (b'{"image": ["%b", "%b"]}' % (TEXT.encode(), TEXT.encode()), 400, "no_picture"),
        (b'{"image": "%b", "top_k": 1}' % TEXT.encode(), 422, "unknown_field"),
        (b'{"image": "%b"}' % b64encode(bytes(LARGEST + 1)), 413, "too_many_bytes"),
        (b'{"image": "%b"}' % b64encode(bytes(100_000)), 413, "too_many_bytes"),
    ],
)
def test_invalid_json_has_its_status_and_code(client: httpx.Client, body: bytes, status: int, code: str) -> None:
    detail = assert_problem(client.post("/infer", content=body, headers=JSON), status, code)
    assert TEXT[:20] not in detail


@pytest.mark.parametrize("url", ["http://127.0.0.1/a.png", "HTTPS://x", "file:///etc/passwd", "ftp://x", "s3://b/k"])
def test_url_is_rejected_with_the_remedy(client: httpx.Client, url: str) -> None:
    detail = assert_problem(client.post("/infer", json={"image": url}), 400, "no_picture")
    assert "is a URL" in detail
    assert "download the picture" in detail


def test_data_uri_without_base64_is_not_called_a_url(client: httpx.Client) -> None:
    detail = assert_problem(client.post("/infer", json={"image": "data:image/png,%89PNG"}), 400, "no_picture")
    assert "neither base64 nor a data URI with base64" in detail


def test_json_batch_has_a_result_or_an_error_for_each_picture(client: httpx.Client) -> None:
    green = b64encode(colour_picture("lime")).decode()
    sent = [TEXT, "http://x/a.png", green, b64encode(bytes(LARGEST + 1)).decode(), "abcd", 7]
    found = client.post("/infer/batch?top_k=1", json={"images": sent}).json()["results"]
    assert [_outcome(result) for result in found] == [
        "red", "no_picture", "green", "too_many_bytes", "undecodable_image", "no_picture",
    ]  # fmt: skip
    assert [result["index"] for result in found] == list(range(6))


def _outcome(result: dict[str, Any]) -> str:
    return str(result["error"]["code"] if "error" in result else result["predictions"][0]["label"])


def test_invalid_json_batch_has_its_status_and_code(client: httpx.Client) -> None:
    assert_problem(client.post("/infer/batch", json={"images": []}), 400, "no_picture")
    assert_problem(client.post("/infer/batch", json={"image": TEXT}), 422, "unknown_field")
    assert_problem(client.post("/infer/batch", json={"images": ["abcd"] * 65}), 413, "too_many_pictures")
    assert_problem(client.post("/infer/batch?stream=true", content=b"{", headers=JSON), 422, "invalid_parameter")


def test_log_has_nothing_of_the_picture(server: Server, caplog: pytest.LogCaptureFixture) -> None:
    server.client.post("/infer", json={"image": f"http://x/{TEXT}"}, headers={"X-Request-ID": "url"})
    [line] = request_lines(caplog, "url")
    assert TEXT[:20] not in str(line)


@pytest.mark.parametrize("size", [3 * 2**16, 3 * 2**16 + 1, 2**18])
def test_text_of_several_pieces_is_decoded_whole(size: int) -> None:
    picture = bytes(range(256)) * (size // 256) + bytes(size % 256)
    assert decode_picture(b64encode(picture).decode(), "image", size) == picture


def test_padding_at_the_end_of_a_piece_must_be_that_of_the_text() -> None:
    text = b64encode(bytes(3 * 2**16 - 1)).decode()
    assert len(text) == 2**18
    assert len(decode_picture(text, "image", 2**18)) == 3 * 2**16 - 1
    with pytest.raises(NoPictureError, match="neither base64"):
        decode_picture(text + "AAAA", "image", 2**18)
