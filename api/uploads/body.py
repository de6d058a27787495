"""A request's body as it arrives: limited in size, time and memory."""

import asyncio
from collections.abc import Collection
from dataclasses import dataclass
from io import BytesIO

from starlette.requests import ClientDisconnect, Request

from api.headers import header
from api.problems import BodyTooLargeError, BodyTooSlowError, ContentEncodingError, UploadsFullError
from utils.memory import release_free_memory

_LARGE_BYTES = 64 * 2**20
_RELEASE_DELAY_S = 0.5  # for the last references to an upload to go


class ArrivingMemory:
    """Bytes that all uploads in progress may hold together. An upload that holds nothing may always begin.

    After large uploads, freed memory is returned to the system: the allocator would keep it.
    """

    def __init__(self, max_bytes: int) -> None:
        self.max_bytes = max_bytes
        self._held = self._peak = 0

    def take(self, size: int, *, held: int) -> None:
        """`held`: bytes that the upload holds already. Raises UploadsFullError if the memory is used up."""
        self._held += size
        self._peak = max(self._peak, self._held)
        if self._held > self.max_bytes and held:
            raise UploadsFullError

    def give_back(self, size: int) -> None:
        self._held -= size
        if self._held == 0 and self._peak > _LARGE_BYTES:
            self._peak = 0
            loop = asyncio.get_running_loop()
            loop.call_later(_RELEASE_DELAY_S, loop.run_in_executor, None, release_free_memory)


@dataclass(frozen=True, slots=True)
class BodyLimits:
    """`max_bytes` of the body; `reported_bytes` is the limit that the error names: a form is larger than its picture.

    `timeout_s`: time spent waiting for the client, all chunks together, or for each chunk if `per_chunk`.
    """

    max_bytes: int
    reported_bytes: int
    timeout_s: float
    per_chunk: bool = False


class RequestBody:
    """Reads a request's body chunk by chunk. `ended` is True after the last chunk.

    With `memory`, chunks are counted there until `release`. Raises ContentEncodingError for a compressed body and
    BodyTooLargeError for a Content-Length above the limit, before anything is read. `codings`: those that the caller
    decodes.
    """

    def __init__(
        self,
        request: Request,
        limits: BodyLimits,
        memory: ArrivingMemory | None = None,
        codings: Collection[str] = (),
    ) -> None:
        encoding = (header(request.scope, b"content-encoding") or "").strip().lower()
        if encoding not in ("", "identity", *codings):
            raise ContentEncodingError(encoding)
        length = header(request.scope, b"content-length") or ""
        if length.isdecimal() and int(length[:20]) > limits.max_bytes:
            raise BodyTooLargeError(limits.reported_bytes)
        self.ended = False
        self._receive = request.receive
        self._limits = limits
        self._bytes_left, self._seconds_left = limits.max_bytes, limits.timeout_s
        self._memory, self._held = memory, 0

    async def next(self) -> bytes:
        """The next chunk. Raises BodyTooLargeError, BodyTooSlowError, UploadsFullError, ClientDisconnect."""
        loop = asyncio.get_running_loop()
        started = loop.time()
        try:
            async with asyncio.timeout(self._seconds_left):
                message = await self._receive()
        except TimeoutError:
            raise BodyTooSlowError(self._limits.timeout_s) from None
        if not self._limits.per_chunk:
            self._seconds_left -= loop.time() - started
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        chunk: bytes = message.get("body", b"")
        self._bytes_left -= len(chunk)
        if self._bytes_left < 0:
            raise BodyTooLargeError(self._limits.reported_bytes)
        self.ended = not message.get("more_body", False)
        if self._memory:
            self._held += len(chunk)
            self._memory.take(len(chunk), held=self._held - len(chunk))
        return chunk

    async def read(self) -> bytes:
        """The whole body; one that arrives in one chunk is not copied. Raises as `next`."""
        first = await self.next()
        return first if self.ended else await self._with_rest(first)

    async def _with_rest(self, first: bytes) -> bytes:
        data = BytesIO()
        data.write(first)
        while not self.ended:
            data.write(await self.next())
        return data.getvalue()

    def release(self, size: int | None = None) -> None:
        """Gives `size` bytes of memory back, by default all that is held."""
        if self._memory:
            size = self._held if size is None else min(size, self._held)
            self._held -= size
            self._memory.give_back(size)
