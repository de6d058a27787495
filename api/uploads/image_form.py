"""A request's body -> one picture in memory: multipart with a field `image`, or the picture as the raw body."""

from dataclasses import dataclass
from io import BytesIO

from starlette.requests import Request

from api.headers import header
from api.problems import BodyTooLargeError, NoPictureError, UnknownFieldError
from api.uploads.body import ArrivingMemory, BodyLimits, RequestBody
from api.uploads.multipart import ENVELOPE_BYTES, MultipartReader, Write, multipart_boundary

FIELD = "image"


@dataclass(frozen=True, slots=True)
class Upload:
    """`filename` as the client gave it; None for a raw body."""

    data: bytes
    filename: str | None


@dataclass(frozen=True, slots=True)
class UploadLimits:
    """`max_bytes` of one picture; `timeout_s` for the whole body; `memory` shared by all uploads in progress."""

    max_bytes: int
    timeout_s: float
    memory: ArrivingMemory


async def read_upload(request: Request, limits: UploadLimits) -> Upload:
    """Raises RequestError, and ClientDisconnect if the client leaves while it sends."""
    if (header(request.scope, b"content-type") or "").startswith("application/json"):
        raise NoPictureError(f"Send the picture's bytes, not JSON: as the form field '{FIELD}' or as the raw body.")
    boundary, max_bytes = multipart_boundary(request), limits.max_bytes
    most = max_bytes if boundary is None else max_bytes + ENVELOPE_BYTES
    body = RequestBody(request, BodyLimits(most, max_bytes, limits.timeout_s), limits.memory)
    try:
        return Upload(await _read_raw(body), None) if boundary is None else await _read_form(body, boundary, max_bytes)
    finally:
        body.release()


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


async def _read_form(body: RequestBody, boundary: bytes, max_bytes: int) -> Upload:
    form = _ImageForm(max_bytes)
    reader = MultipartReader(boundary, form)
    while not body.ended:
        reader.feed(await body.next())
    reader.finish()
    return form.upload()


class _ImageForm:
    """Collects the field `image`. Any other field is rejected as soon as its headers are read."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._data: BytesIO | None = None
        self._filename: str | None = None

    def open_field(self, name: str, filename: str | None) -> Write:
        if name != FIELD:
            raise UnknownFieldError(
                name, f"The picture's field is '{FIELD}'; parameters belong into the query: /infer?top_k=3."
            )
        if self._data is not None:
            raise NoPictureError(f"The form has more than one field '{FIELD}'; send one picture per request.")
        data = self._data = BytesIO()
        self._filename = filename

        def write(piece: memoryview) -> None:
            data.write(piece)
            if data.tell() > self._max_bytes:
                raise BodyTooLargeError(self._max_bytes)

        return write

    def close_field(self) -> None:
        """Nothing to do: `upload` is called after the last field."""

    def upload(self) -> Upload:
        if self._data is None:
            raise NoPictureError(f"The form is empty; send the picture in the field '{FIELD}'.")
        return Upload(self._data.getvalue(), self._filename)
