"""What the application gets of a body is what was sent, in however many pieces."""

import contextlib
import hashlib
import socket
import threading
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest
import uvicorn

from api.http_protocol import BoundedHttpProtocol
from tests.server import until

Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]


async def digest(scope: dict[str, Any], receive: Receive, send: Send) -> None:
    if scope["type"] != "http":
        return
    if scope["path"] == "/half":
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"64")]})
        await send({"type": "http.response.body", "body": b"half", "more_body": True})
        return
    found, more = hashlib.sha256(), True
    while more:
        message = await receive()
        assert isinstance(message["body"], bytes)
        found.update(message["body"])
        more = message["more_body"]
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"64")]})
    await send({"type": "http.response.body", "body": found.hexdigest().encode()})


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    config = uvicorn.Config(digest, port=0, http=BoundedHttpProtocol, log_config=None, lifespan="off")
    running = uvicorn.Server(config)
    thread = threading.Thread(target=running.run, daemon=True)
    thread.start()
    until(lambda: running.started)
    yield running.servers[0].sockets[0].getsockname()[1]
    running.should_exit = True
    thread.join(20)


@pytest.mark.parametrize("piece", [1 << 30, 100_000, 65_537, 65_536, 7_001])
def test_bodies_arrive_whole(port: int, piece: int) -> None:
    """Several on one connection; the last two at once."""
    bodies = [bytes([n % 251]) * size for n, size in enumerate((0, 1, 65_536, 65_537, 300_000, 1_000_000, 20, 30))]
    requests = [b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(body) + body for body in bodies]
    requests[-2:] = [b"".join(requests[-2:])]
    answers = b""
    with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
        for count, request in enumerate(requests, start=1):
            for start in range(0, len(request), piece):
                connection.sendall(request[start : start + piece])
            due = count if count < len(requests) else len(bodies)
            while answers.count(b"\r\n\r\n") < due or not _complete(answers):
                answers += connection.recv(65_536)
    found = [answer[:64].decode() for answer in answers.split(b"\r\n\r\n")[1:]]
    assert found == [hashlib.sha256(body).hexdigest() for body in bodies]


def _complete(answers: bytes) -> bool:
    return len(answers.rpartition(b"\r\n\r\n")[2]) == 64


def test_chunked_bodies_arrive_whole(port: int) -> None:
    pieces = [b"a" * 10, b"b" * 70_000, b"c"]
    with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
        connection.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
        for piece in [*pieces, b""]:
            connection.sendall(b"%x\r\n%s\r\n" % (len(piece), piece))
        answer = b""
        while not (b"\r\n\r\n" in answer and _complete(answer)):
            answer += connection.recv(65_536)
    assert answer.endswith(hashlib.sha256(b"".join(pieces)).hexdigest().encode())


def test_half_an_answer_is_cut_and_no_error_of_ours(port: int, caplog: pytest.LogCaptureFixture) -> None:
    """An application stops there when its client has taken nothing for too long."""
    answer = b""
    with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
        connection.sendall(b"GET /half HTTP/1.1\r\nHost: x\r\n\r\n")
        with contextlib.suppress(ConnectionError):
            while more := connection.recv(65_536):
                answer += more
    assert len(answer.partition(b"\r\n\r\n")[2]) < 64
    assert not [record for record in caplog.records if record.name.startswith("uvicorn")]


def test_a_process_that_ends_closes_connections_behind_their_last_request(
    port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(BoundedHttpProtocol, "draining", True)
    answer = b""
    with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n" * 3)
        while more := connection.recv(65_536):
            answer += more
    assert answer.count(b"HTTP/1.1 200 OK\r\n") == 3
    assert answer.count(b"connection: close") == 1
