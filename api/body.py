"""A request's body as it arrives: counted, timed, and dropped when an early error made it useless."""

import asyncio
from collections.abc import AsyncIterator

from starlette.requests import ClientDisconnect, Request
from starlette.types import Message

from api.problems import BodyTooLargeError, BodyTooSlowError, ContentEncodingError

# After an early error the rest of the body is read and dropped, so that the answer reaches a client that is still
# sending; past these bounds the connection is closed on it.
_DISCARD_BYTES = 32 * 1024 * 1024
_DISCARD_SECONDS = 2.0


def refuse_encoded(request: Request) -> None:
    """Raises ContentEncodingError for a compressed body, which could unfold to any size."""
    for encoding in request.headers.getlist("content-encoding"):
        if encoding.strip().lower() not in ("", "identity"):
            raise ContentEncodingError(encoding)


async def read_chunks(
    request: Request, max_bytes: int, told_limit: int, stall_s: float | None = None
) -> AsyncIterator[bytes]:
    """The body's chunks, at most `max_bytes` of them in all; `told_limit` is the limit that an error names.

    Raises BodyTooLargeError, for an announced length before anything is read; BodyTooSlowError when nothing arrives
    for `stall_s`; ClientDisconnect.
    """
    length = request.headers.get("content-length", "")
    if length.isdecimal() and int(length[:20]) > max_bytes:
        raise BodyTooLargeError(told_limit)
    received, more = 0, True
    while more:
        message = await _receive(request, stall_s)
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        more = message.get("more_body", False)
        chunk = message.get("body", b"")
        received += len(chunk)
        if received > max_bytes:
            raise BodyTooLargeError(told_limit)
        yield chunk


async def _receive(request: Request, stall_s: float | None) -> Message:
    try:
        async with asyncio.timeout(stall_s):
            return await request.receive()
    except TimeoutError:
        raise BodyTooSlowError(stall_s or 0) from None


async def discard_body(request: Request) -> bool:
    """Reads what is left of the body; False when there is too much of it to wait for."""
    if request.state.body_read:
        return True
    if request.headers.get("expect", "").lower() == "100-continue":
        return False  # the client waits for our word before it sends
    left = _DISCARD_BYTES
    try:
        async with asyncio.timeout(_DISCARD_SECONDS):
            while left > 0:
                message = await request.receive()
                if not message.get("more_body", False):
                    return True
                left -= len(message.get("body", b""))
    except TimeoutError:
        pass
    return False
