"""Requests are freed by reference counts: an upload in a reference cycle would stay in memory for minutes."""

import gc
import socket
from collections.abc import Callable
from pathlib import Path

import pytest
from starlette.requests import Request

from api.uploads.batch_form import BatchForm
from api.uploads.body import RequestBody
from tests.conftest import Serve
from tests.raw_http import connected, post
from tests.server import Server, until
from tests.tiny_models import add_model, colour_graph, solid_png, stuck_on_red_graph

FORM = "Content-Type: multipart/form-data; boundary=b\r\n"
PART = b'--b\r\nContent-Disposition: form-data; name="images"; filename="a"\r\n\r\n'
END = b"\r\n--b--\r\n"
PNG = solid_png("black")


def _held() -> int:
    return sum(isinstance(thing, Request | RequestBody | BatchForm) for thing in gc.get_objects())


def _leave(server: Server, data: bytes) -> None:
    with connected(server.port) as connection:
        connection.sendall(data)
        until(lambda: _held() > 0)
        connection.shutdown(socket.SHUT_RDWR)


def _send(server: Server, data: bytes) -> None:
    with connected(server.port) as connection:
        connection.sendall(data)
        connection.recv(1 << 20)


CASES: dict[str, Callable[[Server], None]] = {
    "an answer": lambda server: _send(server, post(PNG)),
    "an undecodable picture": lambda server: _send(server, post(b"hello")),
    "an unknown model": lambda server: _send(server, post(PNG, "/infer?model=nope")),
    "an invalid query": lambda server: _send(server, post(PNG, "/infer?top_k=x")),
    "a malformed form": lambda server: _send(server, post(b"hello", headers=FORM)),
    "a batch": lambda server: _send(server, post(PART + PNG + END, "/infer/batch", FORM)),
    "a streamed batch": lambda server: _send(server, post(PART + PNG + END, "/infer/batch?stream=1", FORM)),
    "a batch with a bad picture": lambda server: _send(server, post(PART + b"hello" + END, "/infer/batch", FORM)),
    "a malformed batch": lambda server: _send(server, post(PART + b"hello", "/infer/batch", FORM)),
    "a batch whose client leaves": lambda server: _leave(server, post(PART + PNG * 99, "/infer/batch", FORM)[:-99]),
    "a streamed batch whose client leaves": lambda server: _leave(
        server, post(PART + PNG * 99, "/infer/batch?stream=1", FORM)[:-99]
    ),
    "an upload whose client leaves": lambda server: _leave(server, post(PNG * 99)[:-99]),
}


@pytest.mark.usefixtures("no_collector")
@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_request_is_freed_without_garbage_collection(server: Server, case: Callable[[Server], None]) -> None:
    case(server)
    until(lambda: _held() == 0)


@pytest.mark.usefixtures("no_collector")
@pytest.mark.parametrize("stream", ["0", "1"])
def test_batch_is_freed_after_a_disconnect_during_inference(serve: Serve, tmp_path: Path, stream: str) -> None:
    add_model(tmp_path, "stuck", stuck_on_red_graph())
    server = serve(models_dir=tmp_path, default_model="stuck")
    red = solid_png("red")
    _leave(server, post((PART + red + b"\r\n") * 5 + b"--b--\r\n", f"/infer/batch?stream={stream}", FORM))
    until(lambda: _held() == 0)


@pytest.mark.usefixtures("no_collector")
def test_rejected_request_is_freed_without_garbage_collection(serve: Serve, tmp_path: Path) -> None:
    add_model(tmp_path, "colour", colour_graph())
    server = serve(models_dir=tmp_path, queue_limit=0, concurrency=1)
    for _ in range(3):
        with connected(server.port) as first, connected(server.port) as second:
            for connection in (first, second):
                connection.sendall(post(PNG))
            assert first.recv(100)
            assert second.recv(100)
    until(lambda: _held() == 0)
