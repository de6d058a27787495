"""A request's body -> pictures in memory: a form, parsed as it arrives, or one picture as the raw body."""

from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO

from starlette.requests import Request

from api.headers import header
from api.problems import BodyTooLargeError, NoPictureError, TooManyPicturesError, UnknownFieldError
from api.uploads.body import ArrivingMemory, BodyLimits, RequestBody
from api.uploads.multipart import ENVELOPE_BYTES, MultipartReader, Write, multipart_boundary


@dataclass(frozen=True, slots=True)
class Part:
    """One picture of the form's `field`; `index` counts from 0, `data` is None if it is too large.

    `filename`: as the client gave it.
    """

    index: int
    field: str
    filename: str | None
    data: bytes | None


@dataclass(frozen=True, slots=True)
class UploadLimits:
    """`max_bytes` of one picture; `timeout_s` for the whole body; `memory` shared by all uploads in progress."""

    max_bytes: int
    timeout_s: float
    memory: ArrivingMemory


class PictureForm:
    """Collects the pictures in `fields`: one incomplete picture at most, and complete ones until they are taken."""

    def __init__(self, fields: Sequence[str], max_bytes: int, max_pictures: int | None = None) -> None:
        self._fields, self._max_bytes, self._max_pictures = fields, max_bytes, max_pictures
        self._count = self._dropped = 0
        self._field = ""
        self._filename: str | None = None
        self._data: BytesIO | None = None
        self._complete: list[Part] = []

    def take_dropped(self) -> int:
        """Bytes of pictures above the limit that were dropped since the last call."""
        dropped, self._dropped = self._dropped, 0
        return dropped

    def take_complete(self) -> list[Part]:
        """The complete pictures that were not returned yet."""
        complete, self._complete = self._complete, []
        return complete

    def check_any(self) -> None:
        """Raises NoPictureError if the form has no picture."""
        if not self._count:
            raise NoPictureError(f"The form is empty; send a picture in the field '{self._fields[0]}'.")

    def open_field(self, name: str, filename: str | None) -> Write:
        if name not in self._fields:
            known = " or ".join(f"'{field}'" for field in self._fields)
            raise UnknownFieldError(
                name,
                f"The field of a picture is {known}; parameters belong into the query (?top_k=3).",
            )
        if self._count == self._max_pictures:
            raise TooManyPicturesError(self._count)
        self._count += 1
        self._field, self._filename, self._data = name, filename, BytesIO()
        return self._write

    def _write(self, data: memoryview) -> None:
        if self._data is None:
            self._dropped += len(data)
            return
        self._data.write(data)
        if self._data.tell() > self._max_bytes:
            self._dropped += self._data.tell()
            self._data = None

    def close_field(self) -> None:
        data = self._data.getvalue() if self._data else None
        self._complete.append(Part(self._count - 1, self._field, self._filename, data))
        self._data = None


async def read_picture(request: Request, limits: UploadLimits) -> tuple[str | None, bytes]:
    """The filename and the bytes. Raises RequestError, and ClientDisconnect if the client leaves while it sends."""
    pictures = await read_pictures(request, limits, ("image",))
    return pictures["image"]


async def read_pictures(
    request: Request, limits: UploadLimits, fields: Sequence[str]
) -> dict[str, tuple[str | None, bytes]]:
    """As `read_picture`, by field. A form has one picture or none for each of `fields`, of which the first is required.

    A raw body is the first.
    """
    if (header(request.scope, b"content-type") or "").startswith("application/json"):
        raise NoPictureError("Send the picture's bytes, not JSON: as the form field 'image' or as the raw body.")
    boundary, max_bytes = multipart_boundary(request), limits.max_bytes
    most = max_bytes if boundary is None else len(fields) * max_bytes + ENVELOPE_BYTES
    body = RequestBody(request, BodyLimits(most, max_bytes, limits.timeout_s), limits.memory)
    try:
        if boundary is None:
            return {fields[0]: (None, await _read_raw(body))}
        parts = await _read_form(body, boundary, PictureForm(fields, max_bytes))
    finally:
        body.release()
    found: dict[str, tuple[str | None, bytes]] = {}
    for part in parts:
        if part.data is None:
            raise BodyTooLargeError(max_bytes)
        if part.field in found:
            raise NoPictureError(f"The form has more than one field '{part.field}'; send one picture per request.")
        found[part.field] = part.filename, part.data
    if fields[0] not in found:
        raise NoPictureError(f"The form has no field '{fields[0]}'; send the picture in it.")
    return found


async def _read_raw(body: RequestBody) -> bytes:
    """A body of one chunk is not copied."""
    first = await body.next()
    return first if body.ended else await _read_rest(body, first)


async def _read_rest(body: RequestBody, first: bytes) -> bytes:
    data = BytesIO()
    data.write(first)
    while not body.ended:
        data.write(await body.next())
    return data.getvalue()


async def _read_form(body: RequestBody, boundary: bytes, form: PictureForm) -> list[Part]:
    reader = MultipartReader(boundary, form)
    while not body.ended:
        reader.feed(await body.next())
    reader.finish()
    form.check_any()
    return form.take_complete()
