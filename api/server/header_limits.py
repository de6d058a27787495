"""Limits of headers, slow clients and the number of connections, which uvicorn does not have.

`python main.py` gives uvicorn this protocol class. Under another server a proxy should have the same limits.
"""

import asyncio
import re
from functools import cache
from math import inf

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from api.problems import MEDIA_TYPE, Problem, title_of
from utils.descriptors import descriptor_limit

HEADER_TIMEOUT_S = 10.0
SEND_TIMEOUT_S = 30.0  # without progress
MAX_HEADER_BYTES = 64 * 1024
# The parser would drop the body of a request that offers HTTP/2, as Java's HttpClient and `curl --http2` do.
_UPGRADE = re.compile(rb"\r\nupgrade:", re.IGNORECASE)
_HEAD_BYTES = 8192
_RESERVED_DESCRIPTORS = 100

_TOO_SLOW = Problem(408, "headers_too_slow", f"The request's headers did not arrive within {HEADER_TIMEOUT_S:g} s.")
_TOO_LARGE = Problem(431, "headers_too_large", f"The request's headers are larger than {MAX_HEADER_BYTES:,} bytes.")


@cache
def max_connections() -> int:
    """Leaves descriptors for models, logs and the cache."""
    return max(descriptor_limit() - _RESERVED_DESCRIPTORS, descriptor_limit() // 2)


class HeaderLimitProtocol(HttpToolsProtocol):
    """The header deadline runs from the connection's opening and from the first byte of each request."""

    _header_timer: asyncio.TimerHandle | None = None
    _write_timer: asyncio.TimerHandle | None = None
    _in_headers, _rejected, _progress = True, False, False
    _parser_bytes = 0  # received since the last complete headers, body part or message

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn's
        super().connection_made(transport)
        self._pipelined: list[RequestResponseCycle] = []
        if len(self.connections) > max_connections():
            transport.abort()
        else:
            self._time_headers(start=True)

    def connection_lost(self, exc: Exception | None) -> None:
        self._time_headers(start=False)
        if self._write_timer:
            self._write_timer.cancel()
        for cycle in self._pipelined:  # uvicorn marks the last one only
            cycle.disconnected = True
            cycle.message_event.set()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._rejected:
            return
        self._progress = False
        super().data_received(_without_upgrade(data) if self._in_headers else data)
        self._parser_bytes = 0 if self._progress else self._parser_bytes + len(data)
        if self._parser_bytes > MAX_HEADER_BYTES:
            self._reject(_TOO_LARGE)

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._time_headers(start=True)

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._in_headers:  # a trailer is not a header
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        self._in_headers, self._progress = False, True
        self._time_headers(start=False)
        if len(self.url) + sum([len(name) + len(value) for name, value in self.headers]) > MAX_HEADER_BYTES:
            self._reject(_TOO_LARGE)
            raise ValueError("headers too large")  # stops the parser
        self._pipelined = [c for c in (*self._pipelined, self.cycle) if c and not c.response_complete]
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        self._progress = True
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._in_headers = self._progress = True
        super().on_message_complete()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._watch_writes()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._watch_writes()

    def send_400_response(self, msg: str) -> None:
        """uvicorn has logged it."""
        self._reject(Problem(400, "malformed_request", f"The request is not valid HTTP/1.1. {msg}"))

    def _time_headers(self, *, start: bool) -> None:
        if self._header_timer:
            self._header_timer.cancel()
        self._header_timer = self.loop.call_later(HEADER_TIMEOUT_S, self._reject, _TOO_SLOW) if start else None

    def _watch_writes(self, before: float = inf) -> None:
        """Aborts a connection whose client has taken nothing for SEND_TIMEOUT_S."""
        unsent = self.transport.get_write_buffer_size()
        if before is not inf:
            self._write_timer = None
        if unsent >= before:
            self.transport.abort()
        elif unsent and self._write_timer is None:
            self._write_timer = self.loop.call_later(SEND_TIMEOUT_S, self._watch_writes, unsent)

    def _reject(self, problem: Problem) -> None:
        """Sends the problem and closes the connection. A response in progress is completed instead."""
        if self._rejected or self.transport.is_closing():
            return
        self._rejected = True
        self._time_headers(start=False)
        cycle = self.cycle
        if cycle and not cycle.response_complete and (cycle.response_started or not cycle.more_body):
            cycle.keep_alive = False
            return
        if hasattr(self, "url") or problem is not _TOO_SLOW:  # a silent client gets no response
            if problem.status != 400:
                self.logger.warning("request rejected  status=%s code=%s", problem.status, problem.code)
            self.transport.write(_response(problem))
        self.transport.close()


def _without_upgrade(data: bytes) -> bytes:
    """Renames the header in a request's first packet."""
    if b"pgrade:" not in data[:_HEAD_BYTES]:
        return data
    head, end, body = data.partition(b"\r\n\r\n")
    return _UPGRADE.sub(b"\r\nx-upgrade:", head) + end + body


def _response(problem: Problem) -> bytes:
    body = bytes(problem.response("-").body)
    head = f"HTTP/1.1 {problem.status} {title_of(problem.status)}\r\nconnection: close\r\n"
    return f"{head}content-type: {MEDIA_TYPE}\r\ncontent-length: {len(body)}\r\n\r\n".encode() + body
