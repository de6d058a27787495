"""A request's body -> one picture in memory: multipart with a field `image`, or the picture as the raw body.

Bytes are counted as they arrive, so a body without a length is capped like any other, and nothing touches a disk.
"""

import asyncio
from dataclasses import dataclass

from python_multipart.multipart import parse_options_header
from starlette.requests import Request

from api.body import read_chunks, refuse_encoded
from api.multipart import MultipartReader, Write
from api.problems import (
    BodyTooLargeError,
    BodyTooSlowError,
    MalformedMultipartError,
    NoPictureError,
    UnknownFieldError,
)

FIELD = "image"
_WHERE_THINGS_GO = f"The picture is {FIELD!r}, parameters go into the query: /infer?top_k=3."
# What multipart may add around a picture: boundaries and part headers.
ENVELOPE_BYTES = 64 * 1024


@dataclass(frozen=True, slots=True)
class Upload:
    """`filename` as the client gave it, None for a raw body."""

    data: bytes
    filename: str | None


@dataclass(frozen=True, slots=True)
class UploadLimits:
    """`max_bytes` of one picture; `timeout_s` for the whole body, from its first byte to its last."""

    max_bytes: int
    timeout_s: float


async def read_upload(request: Request, limits: UploadLimits) -> Upload:
    """Raises RequestError; ClientDisconnect when the client goes away while sending."""
    refuse_encoded(request)
    boundary = multipart_boundary(request)
    try:
        async with asyncio.timeout(limits.timeout_s):
            if boundary is None:
                return Upload(await _read_raw(request, limits.max_bytes), None)
            return await _ImageForm(limits.max_bytes).read(request, boundary)
    except TimeoutError:
        raise BodyTooSlowError(limits.timeout_s) from None


def multipart_boundary(request: Request) -> bytes | None:
    """None for a body that is no form. Raises MalformedMultipartError for a form that does not tell its boundary."""
    kind, options = parse_options_header(request.headers.get("content-type", ""))
    if kind != b"multipart/form-data":
        return None
    boundary = options.get(b"boundary")
    if not boundary:
        raise MalformedMultipartError("The Content-Type multipart/form-data lacks its boundary.")
    return boundary


async def _read_raw(request: Request, max_bytes: int) -> bytes:
    data = bytearray()
    async for chunk in read_chunks(request, max_bytes, max_bytes):
        data += chunk
    return bytes(data)


class _ImageForm:
    """Collects the field `image`; any other field is refused as soon as its header is read."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._data: bytearray | None = None
        self._filename: str | None = None

    async def read(self, request: Request, boundary: bytes) -> Upload:
        chunks = read_chunks(request, self._max_bytes + ENVELOPE_BYTES, self._max_bytes)
        await MultipartReader(boundary, self._open_field).read(chunks)
        if self._data is None:
            raise NoPictureError(f"The form is empty; send the picture in the field '{FIELD}'.")
        return Upload(bytes(self._data), self._filename)

    def _open_field(self, name: str, filename: str | None) -> Write:
        if name != FIELD:
            raise UnknownFieldError(name, _WHERE_THINGS_GO)
        if self._data is not None:
            raise NoPictureError(f"The form has more than one field '{FIELD}'; send one picture a request.")
        self._data, self._filename = bytearray(), filename
        return self._write

    def _write(self, data: memoryview) -> None:
        assert self._data is not None  # noqa: S101 - `_open_field` made it
        self._data += data
        if len(self._data) > self._max_bytes:
            raise BodyTooLargeError(self._max_bytes)
