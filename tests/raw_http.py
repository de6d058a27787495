"""HTTP as bytes on a socket: malformed and pipelined requests, and the parsed responses."""

import contextlib
import json
import re
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

_LENGTH = re.compile(rb"\r\ncontent-length: (\d+)\r\n")


@dataclass(frozen=True)
class Answer:
    """A response: `head` in lower case, `body` without chunk framing."""

    status: int
    head: bytes
    body: bytes

    def json(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.body)
        return found

    @property
    def code(self) -> str:
        """The code of a problem; asserts that the response has all members of a problem."""
        problem = self.json()
        assert set(problem) == {"type", "title", "status", "detail", "code", "request_id"}
        assert b"\r\ncontent-type: application/problem+json\r\n" in self.head
        assert f"\r\nx-request-id: {problem['request_id']}\r\n".encode() in self.head
        assert problem["status"] == self.status
        return str(problem["code"])

    @property
    def closes(self) -> bool:
        return b"\r\nconnection: close\r\n" in self.head


def post(body: bytes = b"", path: str = "/infer", headers: str = "", *, version: str = "1.1") -> bytes:
    return f"POST {path} HTTP/{version}\r\nHost: x\r\n{headers}Content-Length: {len(body)}\r\n\r\n".encode() + body


def chunked(*chunks: bytes, path: str = "/infer", headers: str = "") -> bytes:
    head = f"POST {path} HTTP/1.1\r\nHost: x\r\n{headers}Transfer-Encoding: chunked\r\n\r\n".encode()
    return head + b"".join(b"%x\r\n%s\r\n" % (len(chunk), chunk) for chunk in (*chunks, b""))


@contextlib.contextmanager
def connected(port: int, timeout: float = 60, receive_bytes: int = 0) -> Iterator[socket.socket]:
    """An open connection. `receive_bytes` limits the kernel's receive buffer."""
    with socket.socket() as connection:
        if receive_bytes:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
        connection.settimeout(timeout)
        connection.connect(("127.0.0.1", port))
        yield connection


def talk(port: int, data: bytes, timeout: float = 60) -> list[Answer]:
    """Sends `data` and returns all responses until the server closes the connection; fails on a reset."""
    with connected(port, timeout) as connection:
        connection.sendall(data)
        return read_to_end(connection)


def read_to_end(connection: socket.socket) -> list[Answer]:
    received = b""
    while more := connection.recv(65_536):
        received += more
    return list(parse(received))


def read_answer(connection: socket.socket) -> Answer:
    """Reads one response with a Content-Length; asserts that no further bytes arrived with it."""
    received = b""
    while True:
        head, end, body = received.partition(b"\r\n\r\n")
        length = _LENGTH.search(head.lower() + b"\r\n")
        if end and length and len(body) >= int(length[1]):
            [answer] = parse(received)
            return answer
        more = connection.recv(65_536)
        assert more, received
        received += more


def parse(received: bytes) -> Iterator[Answer]:
    while received:
        head, end, received = received.partition(b"\r\n\r\n")
        assert end, head
        status, head = int(head.split(b" ")[1]), head.lower() + b"\r\n"
        if status == 100:
            continue
        if b"\r\ntransfer-encoding: chunked\r\n" in head:
            body, received = _unchunked(received)
        elif length := _LENGTH.search(head):
            body, received = received[: int(length[1])], received[int(length[1]) :]
            assert len(body) == int(length[1])
        else:
            body, received = received, b""
        yield Answer(status, head, body)


def _unchunked(received: bytes) -> tuple[bytes, bytes]:
    body = b""
    while True:
        size, _, received = received.partition(b"\r\n")
        length = int(size, 16)
        body += received[:length]
        assert received[length : length + 2] == b"\r\n"
        received = received[length + 2 :]
        if not length:
            return body, received
