"""What an application's answer looks like on the wire, and how often it is written."""

import asyncio
from typing import Any

import pytest
from uvicorn.protocols.http.flow_control import FlowControl

from api.http_cycle import Cycle

DATE = (b"date", b"Sun, 22 Nov 2026 20:00:00 GMT")
Headers = list[tuple[bytes, bytes]]


class Client:
    """In the place of a transport and of a connection; `writes` is what has come."""

    def __init__(self) -> None:
        self.writes: list[bytes] = []
        self.closed = self.ends = self.skips_rest = False

    def write(self, data: bytes) -> None:
        self.writes.append(data)

    def is_closing(self) -> bool:
        return self.closed

    def close(self) -> None:
        self.closed = True

    def cut(self) -> None:
        self.closed = True


def answer(*messages: dict[str, Any], method: str = "GET", version: str = "1.1") -> Client:
    """Raises what the cycle raises."""

    async def send() -> Client:
        client: Any = Client()
        cycle = Cycle(
            scope={"http_version": version, "method": method, "state": {}},  # type: ignore[typeddict-item]  # what a cycle looks at
            transport=client,
            flow=FlowControl(client),
            logger=None,  # type: ignore[arg-type]  # nothing is logged
            access_logger=None,  # type: ignore[arg-type]  # nothing is logged
            access_log=False,
            default_headers=[DATE],
            message_event=asyncio.Event(),
            expect_100_continue=False,
            keep_alive=True,
            on_response=lambda: None,
        )
        cycle.connection = client
        cycle.more_body = False
        for message in messages:
            await cycle.send(message)  # type: ignore[arg-type]  # also what is no message
        assert isinstance(client, Client)
        return client

    return asyncio.run(send())


def start(headers: Headers, status: int = 200) -> dict[str, Any]:
    return {"type": "http.response.start", "status": status, "headers": headers}


def body(data: bytes = b"", *, more: bool = False) -> dict[str, Any]:
    return {"type": "http.response.body", "body": data, "more_body": more}


def test_an_answer_with_a_length_is_one_write() -> None:
    client = answer(start([(b"Content-Length", b"2")]), body(b"ok"))
    assert client.writes == [b"HTTP/1.1 200 OK\r\ndate: %b\r\ncontent-length: 2\r\n\r\nok" % DATE[1]]
    assert not client.closed


def test_the_head_of_one_without_a_length_does_not_wait_for_the_body() -> None:
    client = answer(start([]), body(b"a", more=True), body(b"", more=True), body(b"b"))
    head, *rest = client.writes
    assert head.endswith(b"\r\ntransfer-encoding: chunked\r\n\r\n")
    assert rest == [b"1\r\na\r\n", b"1\r\nb\r\n0\r\n\r\n"]


def test_http_1_0_reads_to_the_end_of_the_connection() -> None:
    client = answer(start([]), body(b"a", more=True), body(b"b"), version="1.0")
    assert client.writes[0].endswith(b"\r\nconnection: close\r\n\r\n")
    assert client.writes[1:] == [b"a", b"b"]
    assert client.closed


@pytest.mark.parametrize(("method", "status"), [("HEAD", 200), ("GET", 204), ("GET", 304)])
def test_a_head_alone_is_written_and_framed_by_nothing(method: str, status: int) -> None:
    client = answer(start([(b"x-a", b"b")], status), body(), method=method)
    [head] = client.writes
    assert head.endswith(b"x-a: b\r\n\r\n")
    assert b"transfer-encoding" not in head


def test_head_tells_the_length_of_what_it_leaves_out() -> None:
    [written] = answer(start([(b"content-length", b"4")]), body(b"left"), method="HEAD").writes
    assert written.endswith(b"content-length: 4\r\n\r\n")


def test_an_application_may_end_the_connection_but_not_frame_the_answer() -> None:
    headers = [(b"Connection", b"Close"), (b"Transfer-Encoding", b"chunked"), (b"content-length", b"0")]
    client = answer(start(headers), body())
    [written] = client.writes
    assert (written.count(b"connection"), written.count(b"transfer-encoding")) == (1, 0)
    assert client.closed


@pytest.mark.parametrize(
    "header",
    [(b"a", b"b\r\nc: d"), (b"a", b"b\n"), (b"a", b"b\r"), (b"a\r\nb", b"c"), (b"a", b"\x00"), (b"a", b"\x7f")],
)
def test_a_header_cannot_become_two(header: tuple[bytes, bytes]) -> None:
    with pytest.raises(RuntimeError, match="character"):
        answer(start([header, (b"content-length", b"0")]), body())


@pytest.mark.parametrize(
    "messages",
    [
        [body(b"x")],
        [start([]), start([])],
        [start([(b"content-length", b"1")]), body(b"xy")],
        [start([(b"content-length", b"3")]), body(b"xy")],
        [start([], 204), body(b"x")],
        [start([(b"content-length", b"1")]), body(b"x"), body(b"y")],
    ],
    ids=["no start", "two starts", "too long", "too short", "a body where none may be", "after the end"],
)
def test_what_is_no_answer_is_an_error(messages: list[dict[str, Any]]) -> None:
    with pytest.raises(RuntimeError):
        answer(*messages)
