"""A request's body as it arrives: counted and timed."""

import asyncio
from collections.abc import AsyncIterator

from starlette.requests import ClientDisconnect, Request
from starlette.types import Message

from api.problems import BodyTooLargeError, BodyTooSlowError, ContentEncodingError, UploadsFullError


def header(request: Request, name: bytes) -> bytes | None:
    """The first value of a header by its lower-case name.

    `Request.headers` decodes, copies and raises on its way to the same bytes.
    """
    for key, value in request.scope["headers"]:
        if key == name:
            return bytes(value)
    return None


def refuse_encoded(request: Request) -> None:
    """Raises ContentEncodingError for a compressed body, which could unfold to any size."""
    for name, value in request.scope["headers"]:
        if name == b"content-encoding" and value.strip().lower() not in (b"", b"identity"):
            raise ContentEncodingError(value.decode("latin-1"))


class Room:
    """For bytes that arrive, of all requests together: at most `max_bytes`. Who has nothing yet may begin."""

    def __init__(self, max_bytes: int) -> None:
        self.left = max_bytes


class Body:
    """A request's body: at most `max_bytes` in all; `told_limit` is the limit that an error names.

    With `room`, what has arrived takes its part of that while more is to come; `leave_room` gives it back.
    With `patience_s`, so much time may be spent waiting for the client, all chunks together; what the reader does
    between two chunks does not count. Raises BodyTooLargeError when a larger one is announced.
    """

    def __init__(
        self,
        request: Request,
        max_bytes: int,
        told_limit: int,
        patience_s: float | None = None,
        room: Room | None = None,
    ) -> None:
        length = header(request, b"content-length") or b""
        if length.isdigit() and int(length[:20]) > max_bytes:
            raise BodyTooLargeError(told_limit)
        self.ended = False
        self._receive = request.receive
        self._left, self._told_limit = max_bytes, told_limit
        self._patience_s = self._patience_left_s = patience_s
        self._room, self._taken = room, 0

    async def next(self) -> bytes:
        """The next chunk, perhaps empty; `ended` is set with the last one.

        Raises BodyTooLargeError, UploadsFullError, ClientDisconnect; BodyTooSlowError when the patience is at an end.
        """
        message = await (self._receive() if self._patience_s is None else self._receive_in_time())
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        chunk: bytes = message.get("body", b"")
        self._left -= len(chunk)
        if self._left < 0:
            raise BodyTooLargeError(self._told_limit)
        self.ended = not message.get("more_body", False)
        if self._room and not self.ended:
            self._take_room(self._room, len(chunk))
        return chunk

    def _take_room(self, room: Room, size: int) -> None:
        room.left -= size
        self._taken += size
        if room.left < 0 and self._taken > size:
            raise UploadsFullError

    def leave_room(self) -> None:
        """What has arrived is dropped, or counted elsewhere."""
        if self._room:
            self._room.left += self._taken
            self._taken = 0

    async def _receive_in_time(self) -> Message:
        loop = asyncio.get_running_loop()
        asked = loop.time()
        try:
            async with asyncio.timeout(self._patience_left_s):
                return await self._receive()
        except TimeoutError:
            raise BodyTooSlowError(self._patience_s or 0) from None
        finally:
            self._patience_left_s = max(0.0, (self._patience_left_s or 0) - (loop.time() - asked))


async def read_chunks(
    request: Request, max_bytes: int, told_limit: int, stall_s: float | None = None
) -> AsyncIterator[bytes]:
    """The body's chunks, at most `max_bytes` of them in all; `told_limit` is the limit that an error names.

    Raises BodyTooLargeError, for an announced length before anything is read; BodyTooSlowError when nothing arrives
    for `stall_s`; ClientDisconnect.
    """
    body = Body(request, max_bytes, told_limit)
    while not body.ended:
        yield await (body.next() if stall_s is None else _next_within(body, stall_s))


async def _next_within(body: Body, stall_s: float) -> bytes:
    try:
        async with asyncio.timeout(stall_s):
            return await body.next()
    except TimeoutError:
        raise BodyTooSlowError(stall_s) from None
