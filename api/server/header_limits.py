"""Limits of a request's headers in time and size, and of the number of connections, which uvicorn does not have.

`python main.py` gives uvicorn this protocol class. Under another server a proxy should have the same limits.
"""

import asyncio
import re
from functools import cache

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from api.problems import TITLES, Problem
from utils.descriptors import descriptor_limit

HEADER_TIMEOUT_S = 10.0
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
    return descriptor_limit() - _RESERVED_DESCRIPTORS


class HeaderLimitProtocol(HttpToolsProtocol):
    """The deadline runs from the connection's opening, and from a further request's first byte, to the last header."""

    _timer: asyncio.TimerHandle | None = None
    _header_bytes = 0
    _in_headers = True

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn's
        super().connection_made(transport)
        self._pipelined: list[RequestResponseCycle] = []
        if len(self.connections) > max_connections():
            transport.abort()
        else:
            self._start_timer()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_timer()
        for cycle in self._pipelined:  # uvicorn marks the last one only
            cycle.disconnected = True
            cycle.message_event.set()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._in_headers and b"pgrade:" in data[:_HEAD_BYTES]:
            head, end, body = data.partition(b"\r\n\r\n")
            data = _UPGRADE.sub(b"\r\nx-upgrade:", head) + end + body
        super().data_received(data)

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._start_timer()

    def on_url(self, url: bytes) -> None:
        super().on_url(url)
        self._count(len(url))

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._in_headers:  # a trailer is not a header
            super().on_header(name, value)
        self._count(len(name) + len(value))

    def on_headers_complete(self) -> None:
        self._in_headers = False
        self._stop_timer()
        self._header_bytes = 0
        if self.transport.is_closing():
            return
        if self.cycle and not self.cycle.response_complete:
            self._pipelined.append(self.cycle)
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        self._in_headers, self._header_bytes = True, 0
        super().on_message_complete()

    def send_400_response(self, msg: str) -> None:
        self._reject(Problem(400, "malformed_request", f"The request is not valid HTTP/1.1. {msg}"))

    def _count(self, size: int) -> None:
        self._header_bytes += size
        if self._header_bytes > MAX_HEADER_BYTES:
            self._reject(_TOO_LARGE)

    def _start_timer(self) -> None:
        if self._timer is None:
            self._timer = self.loop.call_later(HEADER_TIMEOUT_S, self._on_timeout)

    def _stop_timer(self) -> None:
        if self._timer:
            self._timer.cancel()
            self._timer = None

    def _on_timeout(self) -> None:
        if self._header_bytes:
            self._reject(_TOO_SLOW)
        else:
            self.transport.close()

    def _reject(self, problem: Problem) -> None:
        """Sends the problem and closes the connection; a response in progress is completed in its place."""
        self._stop_timer()
        if self.cycle and not self.cycle.response_complete:
            self.cycle.keep_alive = False
            return
        if self.transport.is_closing():
            return
        self.logger.warning("request rejected status=%s code=%s", problem.status, problem.code)
        body = bytes(problem.response("-").body)
        head = f"HTTP/1.1 {problem.status} {TITLES[problem.status]}\r\nconnection: close\r\n"
        head += f"content-type: application/problem+json\r\ncontent-length: {len(body)}\r\n\r\n"
        self.transport.write(head.encode() + body)
        self.transport.close()
