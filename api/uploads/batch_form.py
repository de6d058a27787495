"""A form with many pictures, taken apart while it still arrives: each picture is there as soon as its part ends."""

from dataclasses import dataclass
from io import BytesIO

from api.problems import NoPictureError, TooManyPicturesError, UnknownFieldError
from api.uploads.multipart import MultipartReader, Write

FIELD = "images"
_WHERE_THINGS_GO = f"The pictures are {FIELD!r}, parameters go into the query, as ?top_k=3."


@dataclass(frozen=True, slots=True)
class Part:
    """One picture of a batch, the `index`th; `data` is None when it is larger than allowed."""

    index: int
    filename: str | None
    data: bytes | None


class BatchForm:
    """Holds at most one picture that is not complete, and what the last chunk completed."""

    def __init__(self, boundary: bytes, max_bytes: int, max_parts: int) -> None:
        self._reader = MultipartReader(boundary, self._open_field, self._close_field)
        self._max_bytes, self._max_parts = max_bytes, max_parts
        self._count = 0
        self._filename: str | None = None
        self._data = BytesIO()
        self._too_large = False
        self._complete: list[Part] = []

    def feed(self, chunk: bytes) -> list[Part]:
        """The pictures that end in this chunk.

        Raises MalformedMultipartError, TooManyPicturesError, UnknownFieldError; `rest` then has those before.
        """
        self._reader.feed(chunk)
        return self.rest()

    def rest(self) -> list[Part]:
        """The pictures that are complete and were not given yet."""
        complete, self._complete = self._complete, []
        return complete

    def finish(self) -> None:
        """Raises MalformedMultipartError, NoPictureError."""
        self._reader.finish()
        if not self._count:
            raise NoPictureError(f"The form is empty; send the pictures in the field '{FIELD}', one part each.")

    def _open_field(self, name: str, filename: str | None) -> Write:
        if name != FIELD:
            raise UnknownFieldError(name, _WHERE_THINGS_GO)
        if self._count == self._max_parts:
            raise TooManyPicturesError(self._max_parts)
        self._count += 1
        self._filename, self._data, self._too_large = filename, BytesIO(), False
        return self._write

    def _write(self, data: memoryview) -> None:
        if self._too_large:
            return
        self._data.write(data)
        if self._data.tell() > self._max_bytes:
            self._too_large, self._data = True, BytesIO()

    def _close_field(self) -> None:
        data = None if self._too_large else self._data.getvalue()
        self._complete.append(Part(self._count - 1, self._filename, data))
        self._data = BytesIO()
