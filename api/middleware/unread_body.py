"""Lets a client read the response to a request whose body was not read to its end.

A server that closes the connection while the client still sends resets it, and most clients then report the reset in
place of the response. So the response is sent first, the rest of the body is read and dropped within limits, and then
the connection is closed. The rest of a small body is dropped before the response, and the connection is kept.
"""

import asyncio
from contextlib import suppress

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.headers import header

MAX_DROPPED_BYTES = 256 * 2**20
MAX_DROPPING_S = 30.0
SMALL_BODY_S = 1.0
_SMALL_BYTES = 1024 * 1024
_CLOSE = (b"connection", b"close")


class UnreadBody:
    """Pure ASGI middleware."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not _has_body(scope):
            await self._app(scope, receive, send)
            return
        unread, receiving = True, False
        start: Message | None = None

        async def receive_and_note() -> Message:
            nonlocal unread, receiving
            receiving = True
            message = await receive()
            unread = message["type"] == "http.request" and message.get("more_body", False)
            return message

        async def send_then_drop(message: Message) -> None:
            nonlocal unread, start
            if message["type"] == "http.response.start":
                start = message  # sent with the body: while a response is streamed, the application may still read
                return
            # The client waits for 100 Continue before it sends the body.
            waits = unread and not receiving and header(scope, b"expect") is not None
            complete = not message.get("more_body", False)
            if start:
                headers = list(start.get("headers", ()))
                too_slow = _CLOSE in headers
                keeps = unread and complete and not waits and _is_small(scope)
                if unread and (too_slow or (keeps and await _drop(receive, SMALL_BODY_S))):
                    unread = False
                elif unread:
                    start = {**start, "headers": [*headers, _CLOSE]}
                await send(start)
                start = None
            if unread and not waits and complete:
                await send({**message, "more_body": True})
                await _drop(receive, MAX_DROPPING_S)
                message = {"type": "http.response.body", "body": b"", "more_body": False}
            await send(message)

        await self._app(scope, receive_and_note, send_then_drop)


async def _drop(receive: Receive, seconds: float) -> bool:
    """Whether the body came to its end."""
    dropped = 0
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            while dropped <= MAX_DROPPED_BYTES:
                message = await receive()
                dropped += len(message.get("body", b""))
                if not message.get("more_body", False):
                    return True
    return False


def _has_body(scope: Scope) -> bool:
    return header(scope, b"content-length") not in (None, "0") or header(scope, b"transfer-encoding") is not None


def _is_small(scope: Scope) -> bool:
    """The whole body is read soon, so the connection can be kept."""
    length = header(scope, b"content-length") or ""
    return length.isdecimal() and int(length[:20]) <= _SMALL_BYTES
