"""A request and its answer on a connection: uvicorn's cycle, which also knows how a connection is ended well.

An answer whose length is told leaves in one piece, head and body: two writes are two packets, and two wake-ups of its
reader.
"""

import asyncio
import re
from collections.abc import Callable
from typing import Any, Protocol

from uvicorn._types import ASGI3Application, ASGISendEvent, HTTPResponseBodyEvent, HTTPResponseStartEvent
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, RequestResponseCycle

from api.connection import CLIENT_LEFT, ENDS_WITH_CLIENT

_BODILESS = (204, 304)
# Beside the ends of its lines there are none in a head.
_CONTROL = re.compile(b"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")


class Connection(Protocol):
    """`ends`: no request after the present one is answered. `cut` closes it on half an answer.

    `skips_rest`: what is still to come of the present request's body does not end it.
    """

    @property
    def ends(self) -> bool: ...

    @property
    def skips_rest(self) -> bool: ...

    def cut(self) -> None: ...


class Wire:
    """The transport as far as a cycle uses it; `close` is called after the connection's last answer."""

    __slots__ = ("close", "is_closing", "write")

    def __init__(self, transport: asyncio.Transport, close: Callable[[], None]) -> None:
        self.write, self.is_closing, self.close = transport.write, transport.is_closing, close


class Cycle(RequestResponseCycle):
    """`connection` and, once it runs, `task` are set by the protocol.

    `_head`: goes with the body. `_left`: bytes of the body that were told and have not come; None where no number was.
    """

    connection: Connection
    task: asyncio.Task[None] | None = None
    _head = b""
    _left: int | None = None

    @property
    def waits(self) -> bool:
        """Somebody still waits for its answer."""
        return not self.response_complete and not self.disconnected

    def give_up(self) -> None:
        """Nobody waits for the answer any more; whoever works at it is told."""
        self.disconnected = True
        self.message_event.set()
        state: dict[str, Any] = self.scope["state"]
        if self.task and state.get(ENDS_WITH_CLIENT):
            state[CLIENT_LEFT] = True
            self.task.cancel()

    async def send(self, message: ASGISendEvent) -> None:
        """Raises RuntimeError for what is no answer."""
        if self.flow.write_paused and not self.disconnected:
            await self.flow.drain()
        if self.disconnected:
            return
        if message["type"] == "http.response.start" and not self.response_started:
            self._begin(message)
        elif message["type"] == "http.response.body" and self.response_started and not self.response_complete:
            self._go_on(message)
        else:
            raise RuntimeError(f"{message['type']} does not belong here")

    def _begin(self, message: HTTPResponseStartEvent) -> None:
        status, headers = message["status"], [*self.default_headers, *message.get("headers", ())]
        if (self.more_body and not self.connection.skips_rest) or self.connection.ends:
            self.keep_alive = False
        lines = [STATUS_LINE[status]]
        for name, value in headers:
            known = name.lower()
            if known == b"content-length":
                self._left = int(value)
            elif known == b"connection":
                self.keep_alive = self.keep_alive and b"close" not in value.lower()
                continue
            elif known == b"transfer-encoding":
                continue  # which is the server's business
            lines.append(b"%b: %b\r\n" % (known, value))
        if self.scope["method"] == "HEAD" or status in _BODILESS:
            self._left = 0
        elif self._left is None:
            self._frame(lines)
        if not self.keep_alive:
            lines.append(b"connection: close\r\n")
        head = b"".join(lines)
        if _CONTROL.search(head) or not head.count(b"\r") == head.count(b"\n") == len(lines):
            raise RuntimeError("a header has a character that none may have")
        self.response_started = True
        self.waiting_for_100_continue = False
        self._head = head + b"\r\n"
        if self._left is None:  # the body may take its time
            self._write(b"")

    def _frame(self, lines: list[bytes]) -> None:
        """Without a length. HTTP/1.0 has no chunks: there the answer ends with the connection."""
        self.chunked_encoding = self.scope["http_version"] != "1.0"
        if self.chunked_encoding:
            lines.append(b"transfer-encoding: chunked\r\n")
        else:
            self.keep_alive = False

    def _go_on(self, message: HTTPResponseBodyEvent) -> None:
        data, ends = message.get("body", b""), not message.get("more_body", False)
        if self._left is not None:
            data = self._counted(data, ends)
        elif self.chunked_encoding:
            data = _chunk(data, ends)
        self._write(data)
        if ends:
            self.response_complete = True
            self.body = bytearray()  # what nobody has read
            self.message_event.set()
            if not self.keep_alive:
                self.transport.close()
            self.on_response()

    def _counted(self, data: bytes, ends: bool) -> bytes:
        if self.scope["method"] == "HEAD":
            return b""
        assert self._left is not None  # noqa: S101 - else nobody counts
        self._left -= len(data)
        if self._left < 0 or (ends and self._left):
            raise RuntimeError("the answer's body has not the length that was told")
        return data

    def _write(self, data: bytes) -> None:
        if self._head:
            data, self._head = self._head + data, b""
        if data:
            self.transport.write(data)

    async def run_asgi(self, app: ASGI3Application) -> None:
        """As uvicorn's, but for an application that stops answering a client which left or takes nothing: no error."""
        try:
            await app(self.scope, self.receive, self.send)
        except BaseException as error:
            if not (self.disconnected and isinstance(error, asyncio.CancelledError)):
                self.logger.error("Exception in ASGI application\n", exc_info=error)
            if self.response_started:
                self.connection.cut()
            else:
                await self.send_500_response()
        else:
            if self.waits:
                self.connection.cut()
        finally:
            self.on_response = _nothing


def _chunk(data: bytes, ends: bool) -> bytes:
    chunk = b"%x\r\n%b\r\n" % (len(data), data) if data else b""
    return chunk + b"0\r\n\r\n" if ends else chunk


def _nothing() -> None:
    pass
