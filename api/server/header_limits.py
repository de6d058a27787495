"""Limits of headers, slow clients and the number of connections, which uvicorn does not have.

`python main.py` gives uvicorn this protocol class. Under another server a proxy should have the same limits.
"""

import asyncio
import re
import socket

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from api.problems import Problem, title_of
from utils.descriptors import max_connections

HEADER_TIMEOUT_S = 10.0
SEND_TIMEOUT_MS = 30_000  # without progress
MAX_HEADER_BYTES = 64 * 1024
# The parser would drop the body of a request that offers HTTP/2, as Java's HttpClient and `curl --http2` do.
_UPGRADE = re.compile(rb"(?<=\r\n)upgrade:", re.IGNORECASE)

_TOO_SLOW = Problem(408, "headers_too_slow", f"The request's headers did not arrive within {HEADER_TIMEOUT_S:g} s.")
_TOO_LARGE = Problem(431, "headers_too_large", f"The request's headers are larger than {MAX_HEADER_BYTES:,} bytes.")


class HeaderLimitProtocol(HttpToolsProtocol):
    """The header deadline runs from the connection's opening and from the first byte of each request."""

    _timer: asyncio.TimerHandle | None = None
    _rejected = False
    _unparsed_bytes = 0  # received since the last complete headers or body part
    _cycles: tuple[RequestResponseCycle, ...] = ()  # pipelined requests

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn's
        super().connection_made(transport)
        if hasattr(socket, "TCP_USER_TIMEOUT"):  # Linux: the kernel disconnects a client that takes nothing
            transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, SEND_TIMEOUT_MS)
        if len(self.connections) > max_connections():
            transport.abort()
        self._time_headers(start=True)

    def connection_lost(self, exc: Exception | None) -> None:
        self._time_headers(start=False)
        for cycle in self._cycles:  # uvicorn marks the last one only
            cycle.disconnected = True
            cycle.message_event.set()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._rejected:
            return
        self._unparsed_bytes += len(data)
        in_body = self.cycle and self.cycle.more_body
        if not in_body and (upgrade := _UPGRADE.search(data, 0, data.find(b"\r\n\r\n") + 1 or len(data))):
            data = data[: upgrade.start()] + b"x-" + data[upgrade.start() :]
        super().data_received(data)
        if self._unparsed_bytes > MAX_HEADER_BYTES:
            self._reject(_TOO_LARGE)

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._time_headers(start=True)

    def on_headers_complete(self) -> None:
        self._unparsed_bytes = 0
        self._time_headers(start=False)
        if len(self.url) + sum([len(name) + len(value) for name, value in self.headers]) > MAX_HEADER_BYTES:
            self._reject(_TOO_LARGE)
            raise ValueError("headers too large")  # stops the parser
        super().on_headers_complete()
        self._cycles = (*(c for c in self._cycles if not c.response_complete), self.cycle)
        self.headers = []  # for trailers, which are not headers of the request

    def on_body(self, body: bytes) -> None:
        self._unparsed_bytes = 0
        super().on_body(body)

    def send_400_response(self, msg: str) -> None:
        self._reject(Problem(400, "malformed_request", f"The request is not valid HTTP/1.1. {msg}"))

    def _time_headers(self, *, start: bool) -> None:
        if self._timer:
            self._timer.cancel()
        self._timer = self.loop.call_later(HEADER_TIMEOUT_S, self._reject, _TOO_SLOW) if start else None

    def _reject(self, problem: Problem) -> None:
        """Sends the problem and closes the connection. A response in progress is completed instead."""
        if self._rejected or self.transport.is_closing():
            return
        self._rejected, cycle = True, self.cycle
        if cycle and not cycle.response_complete and (cycle.response_started or not cycle.more_body):
            cycle.keep_alive = False
            return
        if hasattr(self, "url") or problem is not _TOO_SLOW:  # a silent client gets no response
            if problem.status != 400:  # which uvicorn has logged
                self.logger.warning("request rejected  status=%s code=%s", problem.status, problem.code)
            response = problem.response("-")
            head = [f"HTTP/1.1 {problem.status} {title_of(problem.status)}\r\nconnection: close".encode()]
            head += [b": ".join(header) for header in response.raw_headers]
            self.transport.write(b"\r\n".join([*head, b"", bytes(response.body)]))
        self.transport.close()
