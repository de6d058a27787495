"""A client whose body is rejected early reads its error, and the rest of the body is bounded."""

import contextlib

import pytest

from api.middleware import unread_body
from tests.conftest import Serve
from tests.raw_http import chunked, connected, post, read_answer, read_to_end
from tests.server import Server

FORM = "Content-Type: multipart/form-data; boundary=b\r\n"
PART = b"--b\r\nContent-Disposition: form-data; name=other\r\n\r\n"


@pytest.mark.parametrize(
    ("request_data", "status"),
    [
        (post(bytes(30 * 2**20)), 413),
        (chunked(*[bytes(2**20)] * 30), 413),
        (post(PART + bytes(10 * 2**20), headers=FORM), 422),
        (post(bytes(10 * 2**20), "/nothing"), 404),
        (post(bytes(10 * 2**20), "/models/new/versions"), 403),
    ],
    ids=["a large body", "large chunks", "an unknown field", "an unknown address", "without a key"],
)
def test_client_that_sends_the_whole_body_first_reads_the_error(
    server: Server, request_data: bytes, status: int
) -> None:
    with connected(server.port) as connection:
        connection.sendall(request_data)
        [response] = read_to_end(connection)
    assert (response.status, response.closes) == (status, True)


def test_error_is_sent_before_the_body_is_complete(server: Server) -> None:
    with connected(server.port) as connection:
        connection.sendall(post(bytes(30 * 2**20))[:1000])
        assert read_answer(connection).status == 413


def test_connection_is_kept_after_a_small_unread_body(server: Server, red_png: bytes) -> None:
    with connected(server.port) as connection:
        for path, status in (("/nothing", 404), ("/infer?model=nope", 404), ("/infer", 200)):
            connection.sendall(post(red_png, path))
            response = read_answer(connection)
            assert (response.status, response.closes) == (status, False)


@pytest.mark.parametrize("padding", [0, 2 * 2**20], ids=["small", "large"])
def test_streamed_response_that_begins_during_the_upload_leaves_the_rest_to_the_route(
    server: Server, red_png: bytes, padding: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(unread_body, "SMALL_BODY_S", 60)
    picture = b'Content-Disposition: form-data; name="images"; filename="p"\r\n\r\n' + red_png + b"\r\n--b"
    begin, rest = b"--b\r\n" + picture + b"\r\n", picture + b"--\r\n" + bytes(padding)
    request = post(begin + rest, "/infer/batch?stream=true", FORM)
    with connected(server.port) as connection:
        connection.sendall(request.removesuffix(rest))
        received = b""
        while b'"index":0' not in received:
            received += connection.recv(65_536)
        connection.sendall(rest)
        while b'"index":1' not in received:
            received += connection.recv(65_536)


def test_endless_chunks_are_dropped_up_to_a_limit(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unread_body, "MAX_DROPPED_BYTES", 5 * 2**20)
    port = serve(max_upload_bytes=1000).port
    chunk = b"%x\r\n%s\r\n" % (2**20, bytes(2**20))
    sent = 0
    with connected(port) as connection, contextlib.suppress(ConnectionError):
        connection.sendall(chunked()[: -len(b"0\r\n\r\n")])
        for _ in range(1000):
            connection.sendall(chunk)
            sent += 1
    assert sent < 100


def test_client_that_waits_for_100_continue_is_rejected_at_once(server: Server) -> None:
    head = post(bytes(30 * 2**20), headers="Expect: 100-continue\r\n")[: -30 * 2**20]
    with connected(server.port) as connection:
        connection.sendall(head)
        [response] = read_to_end(connection)
    assert response.status == 413
