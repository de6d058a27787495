"""A request and its answer on a connection: uvicorn's cycle, which also knows how a connection is ended well."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, Protocol

from uvicorn._types import ASGI3Application, ASGISendEvent, HTTPResponseStartEvent
from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

from api.connection import CLIENT_LEFT, ENDS_WITH_CLIENT


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
    """The transport as far as uvicorn's cycle uses it; `close` is called after the connection's last answer."""

    __slots__ = ("close", "is_closing", "write")

    def __init__(self, transport: asyncio.Transport, close: Callable[[], None]) -> None:
        self.write, self.is_closing, self.close = transport.write, transport.is_closing, close


class Cycle(RequestResponseCycle):
    """`connection` and, once it runs, `task` are set by the protocol."""

    connection: Connection
    task: asyncio.Task[None] | None = None
    _until_close = False

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

    def send(self, message: ASGISendEvent) -> Coroutine[Any, Any, None]:
        if not self.response_started:
            if (self.more_body and not self.connection.skips_rest) or self.connection.ends:
                self.keep_alive = False
            if self.scope["http_version"] == "1.0" and message["type"] == "http.response.start":
                self._frame_without_chunks(message)
        elif self._until_close:
            self.expected_content_length = len(message.get("body", b""))  # type: ignore[arg-type]  # bytes, in a body
        return super().send(message)

    def _frame_without_chunks(self, message: HTTPResponseStartEvent) -> None:
        """HTTP/1.0 has none: an answer without a length ends with the connection."""
        self._until_close = all(name != b"content-length" for name, _ in message.get("headers", []))
        if self._until_close:
            self.chunked_encoding = False

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


def _nothing() -> None:
    pass
