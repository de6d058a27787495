"""Requests are freed by reference counts: an upload in a reference cycle would stay in memory for minutes."""

import gc
import json
import socket
from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path

import pytest
from starlette.requests import Request

from api.uploads.body import RequestBody
from api.uploads.pictures import PictureForm
from tests.conftest import Serve
from tests.raw_http import connected, post
from tests.server import Server, until
from tests.tiny_models import add_model, colour_graph, solid_png, stuck_on_red_graph

FORM = "Content-Type: multipart/form-data; boundary=b\r\n"
JSON = "Content-Type: application/json\r\n"
EMBEDDINGS = "/v1/embeddings"
PART = b'--b\r\nContent-Disposition: form-data; name="images"; filename="a"\r\n\r\n'
END = b"\r\n--b--\r\n"
PNG = solid_png("black")
_KINDS = {Request, RequestBody, PictureForm}


class Requests:
    """The objects of requests since its creation; failed tests and captured logs may keep older ones."""

    def __init__(self) -> None:
        self._older: set[int] = set()
        self._older = {id(thing) for thing in self._all()}

    def held(self) -> bool:
        return any(id(thing) not in self._older for thing in self._all())

    @staticmethod
    def _all() -> list[object]:
        return [thing for thing in gc.get_objects() if type(thing) in _KINDS]


@pytest.fixture(scope="module")
def frozen() -> Iterator[None]:
    """Frozen objects are not searched: those of all other tests."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.fixture
def requests(frozen: None, no_collector: None) -> Requests:  # noqa: ARG001 - first, so that garbage is not counted
    return Requests()


def _leave(server: Server, requests: Requests, data: bytes) -> None:
    with connected(server.port) as connection:
        connection.sendall(data)
        until(requests.held)
        connection.shutdown(socket.SHUT_RDWR)


def _send(server: Server, data: bytes) -> None:
    with connected(server.port) as connection:
        connection.sendall(data)
        connection.recv(1 << 20)


def _v2(*pictures: bytes, shape: int) -> bytes:
    tensor = {"name": "image", "shape": [shape], "datatype": "BYTES"}
    return json.dumps({"inputs": [{**tensor, "data": [b64encode(data).decode() for data in pictures]}]}).encode()


V2 = "/v2/models/colour/infer"
ANSWERED = {
    "an answer": post(PNG),
    "an undecodable picture": post(b"hello"),
    "an unknown model": post(PNG, "/infer?model=nope"),
    "an invalid query": post(PNG, "/infer?top_k=x"),
    "a malformed form": post(b"hello", headers=FORM),
    "a batch": post(PART + PNG + END, "/infer/batch", FORM),
    "a streamed batch": post(PART + PNG + END, "/infer/batch?stream=1", FORM),
    "a batch with a bad picture": post(PART + b"hello" + END, "/infer/batch", FORM),
    "an explanation": post(PNG, "/explain"),
    "an explanation of an unknown label": post(PNG, "/explain?label=nope"),
    "pictures as a tensor": post(_v2(PNG, PNG, shape=2), V2),
    "a bad picture in a tensor": post(_v2(PNG, b"hello", PNG, shape=3), V2),
    "a malformed tensor": post(_v2(PNG, shape=3), V2),
    "a JSON picture": post(b'{"image": "%b"}' % b64encode(PNG), headers=JSON),
    "a URL": post(b'{"image": "http://x/"}', headers=JSON),
    "a JSON batch with a bad picture": post(b'{"images": ["%b", "?"]}' % b64encode(PNG), "/infer/batch", JSON),
    "a picture for Hugging Face": post(b'{"inputs": "%b"}' % b64encode(PNG), "/hf/colour", JSON),
    "a bad picture for Hugging Face": post(b'{"inputs": "abcd"}', "/hf/colour", JSON),
    "embeddings with a bad picture": post(
        b'{"model": "colour", "input": ["data:;base64,%b", "data:;base64,abcd"]}' % b64encode(PNG), EMBEDDINGS, JSON
    ),
    "detection without a detector": post(PART.replace(b"images", b"image") + PNG + END, "/v1/vision/detection", FORM),
    "a malformed batch": post(PART + b"hello", "/infer/batch", FORM),
}
INCOMPLETE = {
    "a batch": post(PART + PNG * 99, "/infer/batch", FORM)[:-99],
    "a streamed batch": post(PART + PNG * 99, "/infer/batch?stream=1", FORM)[:-99],
    "an upload": post(PNG * 99)[:-99],
}


@pytest.mark.parametrize("data", ANSWERED.values(), ids=ANSWERED.keys())
def test_answered_request_is_freed_without_garbage_collection(server: Server, requests: Requests, data: bytes) -> None:
    _send(server, data)
    until(lambda: not requests.held())


@pytest.mark.parametrize("data", INCOMPLETE.values(), ids=INCOMPLETE.keys())
def test_request_is_freed_after_a_disconnect_during_upload(server: Server, requests: Requests, data: bytes) -> None:
    _leave(server, requests, data)
    until(lambda: not requests.held())


@pytest.mark.parametrize("stream", ["0", "1"])
def test_batch_is_freed_after_a_disconnect_during_inference(
    serve: Serve, requests: Requests, tmp_path: Path, stream: str
) -> None:
    add_model(tmp_path, "stuck", stuck_on_red_graph())
    server = serve(models_dir=tmp_path, default_model="stuck")
    red = solid_png("red")
    _leave(server, requests, post((PART + red + b"\r\n") * 5 + b"--b--\r\n", f"/infer/batch?stream={stream}", FORM))
    until(lambda: not requests.held())


def test_rejected_request_is_freed_without_garbage_collection(serve: Serve, requests: Requests, tmp_path: Path) -> None:
    add_model(tmp_path, "colour", colour_graph())
    server = serve(models_dir=tmp_path, queue_limit=0, concurrency=1)
    for _ in range(3):
        with connected(server.port) as first, connected(server.port) as second:
            for connection in (first, second):
                connection.sendall(post(PNG))
            assert first.recv(100)
            assert second.recv(100)
    until(lambda: not requests.held())
