"""How an HTTP connection ends: in time, and so that its client gets the last answer.

| state of a connection | how it ends |
|---|---|
| waits for a request, or for the rest of its headers | `header_s`, in between two requests `keep_alive_s` |
| a request's body arrives | the application's time for it |
| an answer is on its way | `send_s` in which the client takes nothing |
| a request is malformed | the answers before it, then a problem, then as below |
| an answer came before all of its request's body, which is short | goes on when that has come, in `header_s` |
| an answer ended it, and the client still sends | that is dropped, within bounds, so that the client gets its answer |
"""

import asyncio
import contextlib
import os
import socket
import struct
from collections import deque
from typing import Any

from uvicorn._types import ASGI3Application
from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol
from uvicorn.server import ServerState

from api.connection import HTTP_TIMEOUTS, HttpTimeouts
from api.http_cycle import Cycle, Wire
from api.problems import MEDIA_TYPE, RequestError, problem_of
from api.telemetry.request_log import RequestLog

# After the last answer of a connection whose client still sends.
LINGER_S = 30.0
LINGER_BYTES = 128 * 1024 * 1024
# In each such time so many bytes must come: one who trickles is not waited for.
LINGER_STEP_S = 2.0
LINGER_STEP_BYTES = 16 * 1024
_RESET = struct.pack("ii", 1, 0)


class HttpConnection(HttpToolsProtocol):
    """Requests are `cycle`, the last whose headers were read, `_running`, the one being answered, and the pipeline.

    `_held`: what arrived behind them and is not parsed yet. `_deaf`: nothing more is read.
    """

    # Set on the class when the process is to end: answers say `connection: close` where no request is behind them.
    draining = False

    cycle: Cycle
    pipeline: deque[tuple[Cycle, ASGI3Application]]  # type: ignore[assignment]  # all cycles are ours

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self._timeouts: HttpTimeouts = app_state.get(HTTP_TIMEOUTS) or HttpTimeouts()
        self._running: Cycle | None = None
        self._held = bytearray()
        self._deaf = self._ending = self._lingering = False
        self._dropped = self._dropped_before = 0
        self._header_timer: asyncio.TimerHandle | None = None
        self._end_timer: asyncio.TimerHandle | None = None
        self._refusal: RequestError | MemoryError | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn's
        super().connection_made(transport)
        self._wire = Wire(transport, self._end)
        if hasattr(socket, "TCP_USER_TIMEOUT"):
            # The kernel, too, gives up what a client does not take, also after we have closed.
            with contextlib.suppress(OSError):
                transport.get_extra_info("socket").setsockopt(
                    socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(self._timeouts.send_s * 1e3)
                )

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_listening()
        if self._end_timer:
            self._end_timer.cancel()
        waiting = [cycle for cycle, _ in self.pipeline]
        self.pipeline.clear()
        for cycle in (self._running, *waiting):
            if cycle and cycle.waits:
                cycle.give_up()
        super().connection_lost(exc)

    def shutdown(self) -> None:
        """Called when the server ends: what has begun is answered, also the requests behind it."""
        self._ending = True
        if not self._busy():
            self._close()

    @property
    def ends(self) -> bool:
        return (self._ending or self.draining) and not self._held and not self.pipeline

    def _busy(self) -> bool:
        """A request is being answered."""
        return self._running is not None and self._running.waits

    def _end(self) -> None:
        """The last answer is given; a client that is still sending would lose it if the connection were closed now."""
        running = self._running
        if self._held or self.pipeline or (running and running.more_body):
            self._linger()
        else:
            self._close()

    def _linger(self) -> None:
        self._stop_listening()
        if self._end_timer:
            self._end_timer.cancel()
        self.flow.resume_reading()
        with contextlib.suppress(NotImplementedError, OSError):  # TLS cannot close one way only
            self.transport.write_eof()
        self._lingering, self._dropped, self._dropped_before = True, 0, -LINGER_STEP_BYTES
        self._linger_on(self.loop.time() + LINGER_S)

    def _linger_on(self, until: float) -> None:
        if self.transport.is_closing():
            return
        too_slow = self._dropped < self._dropped_before + LINGER_STEP_BYTES
        if too_slow or self._ending or self.loop.time() >= until:
            self._close()
            return
        self._dropped_before = self._dropped
        self._end_timer = self.loop.call_later(LINGER_STEP_S, self._linger_on, until)

    def _drop(self, size: int) -> None:
        self._dropped += size
        if self._lingering and self._dropped > LINGER_BYTES:
            self._close()

    def _close(self) -> None:
        """What is written already is sent, if the client takes it."""
        self._stop_listening()
        self.transport.close()
        if self.transport.get_write_buffer_size():
            self._await_taking()

    def cut(self) -> None:
        """Half an answer is out: its client must see that it is not whole."""
        self._stop_listening()
        self._abort()

    def _abort(self) -> None:
        """At once, and without what the kernel has not sent yet."""
        with contextlib.suppress(OSError, AttributeError, ValueError):  # it may be closed already
            self.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        self.transport.abort()

    def _stop_listening(self) -> None:
        self._deaf = True
        self._held.clear()
        self._unset_keepalive_if_required()
        self._stop_header_timer()

    def _stop_header_timer(self) -> None:
        if self._header_timer:
            self._header_timer.cancel()
            self._header_timer = None

    # What waits to be sent

    def pause_writing(self) -> None:
        super().pause_writing()
        self._await_taking()

    def resume_writing(self) -> None:
        super().resume_writing()
        if self._end_timer and not self._deaf:
            self._end_timer.cancel()

    def _await_taking(self) -> None:
        if self._end_timer:
            self._end_timer.cancel()
        left = self.transport.get_write_buffer_size()
        self._end_timer = self.loop.call_later(self._timeouts.send_s, self._check_taking, left)

    def _check_taking(self, before: int) -> None:
        if self.transport.get_write_buffer_size() < before:
            self._await_taking()
        else:
            self._abort()

    # Requests that are none

    def _refuse(self, error: RequestError | MemoryError) -> None:
        """The answers before it first; nothing more is read."""
        self._stop_listening()
        cycle = self.cycle
        if cycle is not None and cycle.more_body and cycle.waits:  # it is this request that is wrong, in its body
            if cycle.response_started:
                self.cut()
                return
            self.pipeline = deque(entry for entry in self.pipeline if entry[0] is not cycle)
            cycle.give_up()
        self._refusal = error
        if not self._busy():
            self._send_refusal(error)

    def _send_refusal(self, error: RequestError | MemoryError) -> None:
        request_id = os.urandom(16).hex()
        problem = problem_of(error)
        body = problem.response(request_id).body
        headers = [
            *(header for header in self.server_state.default_headers if header[0] != b"connection"),
            (b"content-type", MEDIA_TYPE.encode()),
            (b"content-length", b"%d" % len(body)),
            (b"connection", b"close"),
            (b"x-content-type-options", b"nosniff"),
            (b"x-request-id", request_id.encode()),
        ]
        head = STATUS_LINE[problem.status] + b"".join(b"%s: %s\r\n" % header for header in headers)
        self.transport.write(head + b"\r\n" + body)
        client = self.client[0] if self.client else None
        RequestLog().write({"status": problem.status, "code": problem.code, "client": client, "request_id": request_id})
        self._linger()
