"""Bodies of infer requests and responses: compressed by gzip or deflate, limited in their decompressed size."""

import asyncio
import zlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from starlette.requests import Request

from api.headers import header
from api.problems import BodyTooLargeError, InvalidRequestError
from api.uploads.body import ArrivingMemory, BodyLimits, RequestBody

# For zlib: the window's size, and 16 for gzip's header. HTTP's deflate has zlib's header.
_WINDOWS = {"gzip": zlib.MAX_WBITS | 16, "deflate": zlib.MAX_WBITS}
_CHUNK_BYTES = 1 << 20


@asynccontextmanager
async def read_body(request: Request, limits: BodyLimits, memory: ArrivingMemory) -> AsyncIterator[memoryview]:
    """The decompressed body, whose memory counts until the block ends. Raises RequestError, ClientDisconnect."""
    body = RequestBody(request, limits, memory, _WINDOWS)
    taken = 0
    try:
        data = bytearray()
        while not body.ended:
            data += await body.next()
        if window := _WINDOWS.get(_coding(request, b"content-encoding")):
            compressed, data = bytes(data), bytearray()
            async for chunk in _decompressed(compressed, window):
                memory.take(len(chunk), held=taken)
                taken += len(chunk)
                if taken > limits.max_bytes:
                    raise BodyTooLargeError(limits.reported_bytes)
                data += chunk
        yield memoryview(data)
    finally:
        memory.give_back(taken)
        body.release()


def compressed(request: Request, body: bytes) -> tuple[bytes, dict[str, str]]:
    """The response's body and headers. It is compressed if the client accepts gzip or deflate alone.

    Most HTTP libraries send `Accept-Encoding: gzip, deflate` by default; compressing tensors for them would be slower.
    """
    coding = _coding(request, b"accept-encoding")
    if coding not in _WINDOWS:
        return body, {}
    compressor = zlib.compressobj(1, zlib.DEFLATED, _WINDOWS[coding])
    return compressor.compress(body) + compressor.flush(), {"Content-Encoding": coding}


async def _decompressed(data: bytes, window: int) -> AsyncIterator[bytes]:
    """In pieces, each in a thread. Raises InvalidRequestError."""
    decompressor = zlib.decompressobj(window)
    try:
        while not decompressor.eof:
            chunk = await asyncio.to_thread(decompressor.decompress, data, _CHUNK_BYTES)
            data = decompressor.unconsumed_tail
            if not chunk and not data and not decompressor.eof:
                raise InvalidRequestError("the compressed body ends too early")
            yield chunk
    except zlib.error as error:
        raise InvalidRequestError(f"the body cannot be decompressed: {error}") from None
    if decompressor.unused_data:
        raise InvalidRequestError("the compressed body has bytes after its end")


def _coding(request: Request, name: bytes) -> str:
    return (header(request.scope, name) or "").strip().lower()
