"""A request's body -> pictures in memory: a form, parsed as it arrives, or one picture as the raw body."""

from dataclasses import dataclass
from io import BytesIO

from starlette.requests import Request

from api.headers import header
from api.problems import BodyTooLargeError, NoPictureError, TooManyPicturesError, UnknownFieldError
from api.uploads.body import ArrivingMemory, BodyLimits, RequestBody
from api.uploads.multipart import ENVELOPE_BYTES, MultipartReader, Write, multipart_boundary


@dataclass(frozen=True, slots=True)
class Part:
    """One picture; `index` counts from 0, `filename` as the client gave it, `data` is None if it is too large."""

    index: int
    filename: str | None
    data: bytes | None


@dataclass(frozen=True, slots=True)
class UploadLimits:
    """`max_bytes` of one picture; `timeout_s` for the whole body; `memory` shared by all uploads in progress."""

    max_bytes: int
    timeout_s: float
    memory: ArrivingMemory


class PictureForm:
    """Collects the fields `field`. Holds at most one incomplete picture, and complete ones until they are taken."""

    def __init__(self, field: str, max_bytes: int, max_pictures: int | None = None) -> None:
        self._field, self._max_bytes, self._max_pictures = field, max_bytes, max_pictures
        self._count = self._dropped = 0
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
            raise NoPictureError(f"The form is empty; send a picture in the field '{self._field}'.")

    def open_field(self, name: str, filename: str | None) -> Write:
        if name != self._field:
            raise UnknownFieldError(
                name, f"The field of a picture is '{self._field}'; parameters belong into the query: /infer?top_k=3."
            )
        if self._count == self._max_pictures:
            raise TooManyPicturesError(self._count)
        self._count += 1
        self._filename, self._data = filename, BytesIO()
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
        self._complete.append(Part(self._count - 1, self._filename, data))
        self._data = None


async def read_picture(request: Request, limits: UploadLimits) -> tuple[str | None, bytes]:
    """The filename and the bytes. Raises RequestError, and ClientDisconnect if the client leaves while it sends."""
    if (header(request.scope, b"content-type") or "").startswith("application/json"):
        raise NoPictureError("Send the picture's bytes, not JSON: as the form field 'image' or as the raw body.")
    boundary, max_bytes = multipart_boundary(request), limits.max_bytes
    most = max_bytes if boundary is None else max_bytes + ENVELOPE_BYTES
    body = RequestBody(request, BodyLimits(most, max_bytes, limits.timeout_s), limits.memory)
    try:
        if boundary is None:
            return None, await _read_raw(body)
        part = await _read_form(body, boundary, max_bytes)
    finally:
        body.release()
    if part.data is None:
        raise BodyTooLargeError(max_bytes)
    return part.filename, part.data


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


async def _read_form(body: RequestBody, boundary: bytes, max_bytes: int) -> Part:
    form = PictureForm("image", max_bytes)
    reader = MultipartReader(boundary, form)
    while not body.ended:
        reader.feed(await body.next())
    reader.finish()
    form.check_any()
    first, *others = form.take_complete()
    if others:
        raise NoPictureError("The form has more than one field 'image'; send one picture per request.")
    return first
