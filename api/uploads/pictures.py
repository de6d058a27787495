"""A request's body -> pictures in memory: a form, parsed as it arrives, a JSON object, or the raw body."""

from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO

from starlette.requests import Request

from api.headers import header
from api.problems import BodyTooLargeError, NoPictureError, RequestError, TooManyPicturesError, UnknownFieldError
from api.uploads.base64_pictures import off_loop, parse_object, picture_or_error
from api.uploads.body import ArrivingMemory, BodyLimits, RequestBody
from api.uploads.multipart import ENVELOPE_BYTES, MultipartReader, Write, multipart_boundary

# Base64 takes 4 bytes for 3; the rest is for line breaks and escapes.
_TEXT_BYTES_PER_BYTE = 1.5


@dataclass(frozen=True, slots=True)
class Part:
    """One picture of the form's `field`; `index` counts from 0. `filename`: as the client gave it.

    `data`: the error of this picture alone if it is too large, or not valid base64.
    """

    index: int
    field: str
    filename: str | None
    data: bytes | RequestError

    def picture(self) -> bytes:
        """Raises RequestError."""
        if isinstance(self.data, RequestError):
            raise self.data
        return self.data


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
            raise NoPictureError(f"The request has no picture; send it in the field '{self._fields[0]}'.")

    def add_base64(self, name: str, value: object) -> None:
        """Adds a picture, or a list of them, of a JSON object. Raises RequestError as `open_field` does."""
        for text in value if isinstance(value, list) else [value]:
            self._count_in(name)
            data = picture_or_error(text, name, self._max_bytes)
            self._complete.append(Part(self._count - 1, name, None, data))

    def open_field(self, name: str, filename: str | None) -> Write:
        self._count_in(name)
        self._field, self._filename, self._data = name, filename, BytesIO()
        return self._write

    def _count_in(self, name: str) -> None:
        if name not in self._fields:
            known = " or ".join(f"'{field}'" for field in self._fields)
            raise UnknownFieldError(
                name,
                f"The field of a picture is {known}; parameters belong into the query (?top_k=3).",
            )
        if self._count == self._max_pictures:
            raise TooManyPicturesError(self._count)
        self._count += 1

    def _write(self, data: memoryview) -> None:
        if self._data is None:
            self._dropped += len(data)
            return
        self._data.write(data)
        if self._data.tell() > self._max_bytes:
            self._dropped += self._data.tell()
            self._data = None

    def close_field(self) -> None:
        data = BodyTooLargeError(self._max_bytes) if self._data is None else self._data.getvalue()
        self._complete.append(Part(self._count - 1, self._field, self._filename, data))
        self._data = None


class JsonReader:
    """Adds the pictures of a JSON object to `form`, once it is complete."""

    def __init__(self, form: PictureForm) -> None:
        self._form = form
        self._data = bytearray()

    def feed(self, chunk: bytes) -> None:
        self._data += chunk

    @property
    def size(self) -> int:
        return len(self._data)

    def finish(self) -> None:
        """Raises ParameterError, and what the form raises."""
        body, self._data = self._data, bytearray()
        for name, value in parse_object(body).items():
            self._form.add_base64(name, value)


async def finish(reader: MultipartReader | JsonReader) -> None:
    """Raises what `reader.finish` raises. A large JSON object is parsed in a thread."""
    if isinstance(reader, JsonReader):
        await off_loop(reader.size, reader.finish)
    else:
        reader.finish()


def form_reader(request: Request, form: PictureForm) -> MultipartReader | JsonReader | None:
    """None for a body that is neither multipart nor JSON. Raises MalformedMultipartError."""
    if is_json(request):
        return JsonReader(form)
    boundary = multipart_boundary(request)
    return None if boundary is None else MultipartReader(boundary, form)


def is_json(request: Request) -> bool:
    return (header(request.scope, b"content-type") or "").lower().startswith("application/json")


def json_limits(limits: UploadLimits, pictures: int) -> BodyLimits:
    """For a JSON body with so many pictures at most. All of it is in memory before its pictures are."""
    most = int(pictures * limits.max_bytes * _TEXT_BYTES_PER_BYTE) + ENVELOPE_BYTES
    most = min(most, limits.memory.max_bytes)
    return BodyLimits(most, limits.max_bytes if pictures == 1 else most, limits.timeout_s)


async def read_picture(request: Request, limits: UploadLimits) -> tuple[str | None, bytes]:
    """The filename and the bytes. Raises RequestError, and ClientDisconnect if the client leaves while it sends."""
    pictures = await read_pictures(request, limits, ("image",))
    return pictures["image"]


async def read_pictures(
    request: Request, limits: UploadLimits, fields: Sequence[str]
) -> dict[str, tuple[str | None, bytes]]:
    """As `read_picture`, by field. A form has one picture or none for each of `fields`, of which the first is required.

    A JSON object has them as base64 or data URIs. A raw body is the first.
    """
    form = PictureForm(fields, limits.max_bytes)
    reader = form_reader(request, form)
    body = RequestBody(request, _body_limits(limits, reader, len(fields)), limits.memory)
    try:
        if reader is None:
            return {fields[0]: (None, await body.read())}
        while not body.ended:
            reader.feed(await body.next())
        await finish(reader)
        form.check_any()
        parts = form.take_complete()
    finally:
        body.release()
    found: dict[str, tuple[str | None, bytes]] = {}
    for part in parts:
        if part.field in found:
            raise NoPictureError(f"The request has more than one field '{part.field}'; send one picture per request.")
        found[part.field] = part.filename, part.picture()
    if fields[0] not in found:
        raise NoPictureError(f"The request has no field '{fields[0]}'; send the picture in it.")
    return found


def _body_limits(limits: UploadLimits, reader: MultipartReader | JsonReader | None, pictures: int) -> BodyLimits:
    if isinstance(reader, JsonReader):
        return json_limits(limits, pictures)
    most = pictures * limits.max_bytes + ENVELOPE_BYTES if reader else limits.max_bytes
    return BodyLimits(most, limits.max_bytes, limits.timeout_s)
