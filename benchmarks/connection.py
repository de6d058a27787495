"""A keep-alive HTTP/1.1 connection that sends prepared bytes and parses only the status and length of answers."""

import asyncio
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

_HEAD_END = b"\r\n\r\n"
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_CLOSES = re.compile(rb"\r\nconnection: *close", re.IGNORECASE)
_LAST_CHUNK = b"\r\n0\r\n\r\n"
_UNKNOWN = -1

LOST = 0


@dataclass(frozen=True, slots=True)
class Answer:
    """`status` is LOST if the connection broke before the answer was complete."""

    status: int
    body: bytes
    head: bytes = b""


class Connection(asyncio.Protocol):
    """Carries one request at a time; calls `on_answer` once for each. A chunked body keeps its chunk headers."""

    def __init__(self, on_answer: Callable[["Connection", Answer], None]) -> None:
        self._on_answer = on_answer
        self._transport: asyncio.Transport | None = None
        self._received = bytearray()
        self._expected = 0  # bytes of head and body; 0 until the head is there, _UNKNOWN for chunks
        self._busy = False

    @property
    def is_open(self) -> bool:
        return self._transport is not None and not self._transport.is_closing()

    def send(self, request: bytes) -> None:
        assert self._transport is not None
        self._busy = True
        self._transport.write(request)

    def close(self) -> None:
        """Stops reporting answers."""
        self._busy = False
        if self._transport:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's transport is not a subclass

    def data_received(self, data: bytes) -> None:
        self._received += data
        if not self._expected and (end := self._received.find(_HEAD_END)) >= 0:
            length = _LENGTH.search(self._received, 0, end)
            self._expected = end + len(_HEAD_END) + int(length[1]) if length else _UNKNOWN
        if self._expected == _UNKNOWN:
            if self._received.endswith(_LAST_CHUNK):
                self._finish()
        elif self._expected and len(self._received) >= self._expected:
            self._finish()

    def connection_lost(self, _: Exception | None) -> None:
        if self._busy:
            self._busy = False
            self._on_answer(self, Answer(LOST, b""))

    def _finish(self) -> None:
        received, self._received, self._expected = bytes(self._received), bytearray(), 0
        head, _, body = received.partition(_HEAD_END)
        if _CLOSES.search(head) and self._transport:
            self._transport.close()
        if self._busy:
            self._busy = False
            self._on_answer(self, Answer(int(head[9:12]), body, head))
