"""A request's body -> one picture in memory: multipart with a field `image`, or the picture as the raw body.

Bytes are counted as they arrive, so a body without a length is capped like any other, and nothing touches a disk.
"""

import asyncio
import re
from dataclasses import dataclass
from io import BytesIO

from python_multipart.multipart import parse_options_header
from starlette.requests import Request

from api.ordinary_form import FIELD, OrdinaryForm
from api.problems import (
    BodyTooLargeError,
    BodyTooSlowError,
    MalformedMultipartError,
    NoPictureError,
    UnknownFieldError,
)
from api.uploads.body import Body, Room, header, refuse_encoded
from api.uploads.multipart import MultipartReader, Write

_WHERE_THINGS_GO = f"The picture is {FIELD!r}, parameters go into the query: /infer?top_k=3."
# What multipart may add around a picture: boundaries and part headers.
ENVELOPE_BYTES = 64 * 1024
_ORDINARY_TYPE = re.compile(rb"multipart/form-data; ?boundary=([A-Za-z0-9'()+_,./:?-]{1,70})")


@dataclass(frozen=True, slots=True)
class Upload:
    """`filename` as the client gave it, None for a raw body."""

    data: bytes
    filename: str | None


@dataclass(frozen=True, slots=True)
class UploadLimits:
    """`max_bytes` of one picture; `timeout_s` for the whole body, from its first byte to its last.

    `room`: for what has arrived of pictures that are not whole yet.
    """

    max_bytes: int
    timeout_s: float
    room: Room


async def read_upload(request: Request, limits: UploadLimits) -> Upload:
    """Raises RequestError; ClientDisconnect when the client goes away while sending."""
    refuse_encoded(request)
    boundary, max_bytes = multipart_boundary(request), limits.max_bytes
    body = Body(request, max_bytes if boundary is None else max_bytes + ENVELOPE_BYTES, max_bytes, room=limits.room)
    try:
        async with asyncio.timeout(limits.timeout_s):
            if boundary is None:
                return Upload(await _read_raw(body), None)
            return await _read_form(body, boundary, max_bytes)
    except TimeoutError:
        raise BodyTooSlowError(limits.timeout_s) from None
    finally:
        body.leave_room()


def multipart_boundary(request: Request) -> bytes | None:
    """None for a body that is no form. Raises MalformedMultipartError for a form that does not tell its boundary."""
    content_type = header(request, b"content-type") or b""
    if ordinary := _ORDINARY_TYPE.fullmatch(content_type):
        return ordinary[1]
    kind, options = parse_options_header(content_type)
    if kind != b"multipart/form-data":
        return None
    boundary = options.get(b"boundary")
    if not boundary:
        raise MalformedMultipartError("The Content-Type multipart/form-data lacks its boundary.")
    return boundary


async def _read_raw(body: Body) -> bytes:
    """Not copied when it came in one chunk, else once: BytesIO gives its buffer away."""
    first = await body.next()
    return first if body.ended else await _read_on(body, first)


async def _read_on(body: Body, first: bytes) -> bytes:
    data = BytesIO()
    data.write(first)
    while not body.ended:
        data.write(await body.next())
    return data.getvalue()


async def _read_form(body: Body, boundary: bytes, max_bytes: int) -> Upload:
    form, ordinary = OrdinaryForm(boundary, max_bytes), True
    while ordinary and not body.ended:
        ordinary = form.feed(await body.next())
    if form.complete:
        return Upload(form.picture(), form.filename)
    fields = _ImageForm(max_bytes, boundary)
    fields.feed(form.seen())
    del form  # else it would hold what has arrived once more
    return await fields.read(body)


class _ImageForm:
    """Collects the field `image`; any other field is refused as soon as its header is read."""

    def __init__(self, max_bytes: int, boundary: bytes) -> None:
        self._max_bytes = max_bytes
        self._reader = MultipartReader(boundary, self._open_field)
        self.feed = self._reader.feed
        self._data: BytesIO | None = None
        self._filename: str | None = None

    async def read(self, body: Body) -> Upload:
        """What is left of it; what came before has been fed."""
        while not body.ended:
            self.feed(await body.next())
        self._reader.finish()
        if self._data is None:
            raise NoPictureError(f"The form is empty; send the picture in the field '{FIELD}'.")
        return Upload(self._data.getvalue(), self._filename)

    def _open_field(self, name: str, filename: str | None) -> Write:
        if name != FIELD:
            raise UnknownFieldError(name, _WHERE_THINGS_GO)
        if self._data is not None:
            raise NoPictureError(f"The form has more than one field '{FIELD}'; send one picture a request.")
        self._data, self._filename = BytesIO(), filename
        return self._write

    def _write(self, data: memoryview) -> None:
        assert self._data is not None  # noqa: S101 - `_open_field` made it
        self._data.write(data)
        if self._data.tell() > self._max_bytes:
            raise BodyTooLargeError(self._max_bytes)
