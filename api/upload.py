"""A request's body -> one picture in memory: multipart with a field `image`, or the picture as the raw body.

Bytes are counted as they arrive, so a body without a length is capped like any other, and nothing touches a disk.
"""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.requests import ClientDisconnect, Request

from api.problems import (
    BodyTooLargeError,
    BodyTooSlowError,
    ContentEncodingError,
    MalformedMultipartError,
    NoPictureError,
    UnknownFieldError,
)

FIELD = "image"
# What multipart may add around a picture: boundaries and part headers.
_ENVELOPE_BYTES = 64 * 1024
_MAX_FILENAME = 255
# After an early error the rest of the body is read and dropped, so that the answer reaches a client that is still
# sending; past these bounds the connection is closed on it.
_DISCARD_BYTES = 32 * 1024 * 1024
_DISCARD_SECONDS = 2.0


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
    encoding = request.headers.get("content-encoding", "identity")
    if encoding.lower() != "identity":
        raise ContentEncodingError(encoding)
    try:
        async with asyncio.timeout(limits.timeout_s):
            upload = await _read(request, limits.max_bytes)
    except TimeoutError:
        raise BodyTooSlowError(limits.timeout_s) from None
    return upload


async def discard_body(request: Request) -> bool:
    """Reads what is left of a body that an early error made useless; False when there is too much of it to wait for."""
    if getattr(request.state, "body_read", False):
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


async def _read(request: Request, max_bytes: int) -> Upload:
    kind, options = parse_options_header(request.headers.get("content-type", ""))
    if kind != b"multipart/form-data":
        _refuse_announced(request, max_bytes)
        return Upload(await _read_raw(request, max_bytes), None)
    _refuse_announced(request, max_bytes + _ENVELOPE_BYTES)
    boundary = options.get(b"boundary")
    if not boundary:
        raise MalformedMultipartError("The Content-Type multipart/form-data lacks its boundary.")
    return await _ImageForm(boundary, max_bytes).read(_chunks(request))


def _refuse_announced(request: Request, max_bytes: int) -> None:
    """A length that is too large needs no reading; one that lies is caught by counting."""
    length = request.headers.get("content-length", "")
    if length.isdecimal() and int(length[:20]) > max_bytes:
        raise BodyTooLargeError(max_bytes)


async def _chunks(request: Request) -> AsyncIterator[bytes]:
    """The body as it arrives; notes its end before the last chunk is looked at, so that nobody waits for more."""
    while True:
        message = await request.receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        more = message.get("more_body", False)
        request.state.body_read = not more
        yield message.get("body", b"")
        if not more:
            return


async def _read_raw(request: Request, max_bytes: int) -> bytes:
    data = bytearray()
    async for chunk in _chunks(request):
        data += chunk
        if len(data) > max_bytes:
            raise BodyTooLargeError(max_bytes)
    return bytes(data)


class _ImageForm:
    """Collects the field `image` of one multipart body; any other field is refused as soon as its header is read."""

    def __init__(self, boundary: bytes, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._data = bytearray()
        self._filename: str | None = None
        self._parts = 0
        self._ended = False
        self._header_name = b""
        self._header_value = b""
        self._disposition = ""
        try:
            self._parser = MultipartParser(
                boundary,
                {
                    "on_part_begin": self._on_part_begin,
                    "on_header_begin": self._on_header_begin,
                    "on_header_field": self._on_header_field,
                    "on_header_value": self._on_header_value,
                    "on_header_end": self._on_header_end,
                    "on_headers_finished": self._on_headers_finished,
                    "on_part_data": self._on_part_data,
                    "on_end": self._on_end,
                },
            )
        except FormParserError:
            raise MalformedMultipartError("The multipart boundary is too long.") from None

    async def read(self, stream: AsyncIterator[bytes]) -> Upload:
        received = 0
        async for chunk in stream:
            received += len(chunk)
            if received > self._max_bytes + _ENVELOPE_BYTES:
                raise BodyTooLargeError(self._max_bytes)
            try:
                self._parser.write(chunk)
            except FormParserError as error:
                raise MalformedMultipartError(f"The multipart body is malformed: {error}.") from None
        return self._result()

    def _result(self) -> Upload:
        if not self._ended:
            raise MalformedMultipartError("The multipart body ends before its closing boundary.")
        if not self._parts:
            raise NoPictureError(f"The form is empty; send the picture in the field '{FIELD}'.")
        return Upload(bytes(self._data), self._filename)

    def _on_part_begin(self) -> None:
        self._parts += 1
        self._disposition = ""

    def _on_header_begin(self) -> None:
        self._header_name = self._header_value = b""

    def _on_header_field(self, data: bytes, start: int, end: int) -> None:
        self._header_name += data[start:end]

    def _on_header_value(self, data: bytes, start: int, end: int) -> None:
        self._header_value += data[start:end]

    def _on_header_end(self) -> None:
        if self._header_name.lower() == b"content-disposition":
            self._disposition = self._header_value.decode("latin-1")

    def _on_headers_finished(self) -> None:
        kind, options = parse_options_header(self._disposition)
        name = options.get(b"name")
        if kind != b"form-data" or name is None:
            raise MalformedMultipartError("A part of the form lacks 'Content-Disposition: form-data; name=...'.")
        if name != FIELD.encode():
            raise UnknownFieldError(name.decode("utf-8", "replace")[:_MAX_FILENAME], FIELD)
        if self._parts > 1:
            raise NoPictureError(f"The form has more than one field '{FIELD}'; send one picture a request.")
        filename = options.get(b"filename")
        self._filename = filename.decode("utf-8", "replace")[:_MAX_FILENAME] if filename else None

    def _on_part_data(self, data: bytes, start: int, end: int) -> None:
        self._data += memoryview(data)[start:end]
        if len(self._data) > self._max_bytes:
            raise BodyTooLargeError(self._max_bytes)

    def _on_end(self) -> None:
        self._ended = True
