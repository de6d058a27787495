"""A form with many pictures, parsed as it arrives: each picture is complete as soon as its part ends."""

from dataclasses import dataclass
from io import BytesIO

from api.problems import NoPictureError, TooManyPicturesError, UnknownFieldError
from api.uploads.multipart import Write

FIELD = "images"


@dataclass(frozen=True, slots=True)
class Part:
    """One picture of a batch; `index` counts from 0, `data` is None if it is larger than allowed."""

    index: int
    filename: str | None
    data: bytes | None


class BatchForm:
    """Collects the fields `images`. Holds at most one incomplete picture, and complete ones until they are taken."""

    def __init__(self, max_bytes: int, max_parts: int) -> None:
        self._max_bytes, self._max_parts = max_bytes, max_parts
        self._count = 0
        self._filename: str | None = None
        self._data = BytesIO()
        self._too_large = False
        self._complete: list[Part] = []
        self._dropped = 0

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
            raise NoPictureError(f"The form is empty; send the pictures in the field '{FIELD}', one part each.")

    def open_field(self, name: str, filename: str | None) -> Write:
        if name != FIELD:
            raise UnknownFieldError(
                name, f"The pictures' field is '{FIELD}'; parameters belong into the query: ?top_k=3."
            )
        if self._count == self._max_parts:
            raise TooManyPicturesError(self._max_parts)
        self._count += 1
        self._filename, self._data, self._too_large = filename, BytesIO(), False
        return self._write

    def _write(self, data: memoryview) -> None:
        if self._too_large:
            self._dropped += len(data)
            return
        self._data.write(data)
        if self._data.tell() > self._max_bytes:
            self._dropped += self._data.tell()
            self._too_large, self._data = True, BytesIO()

    def close_field(self) -> None:
        data = None if self._too_large else self._data.getvalue()
        self._complete.append(Part(self._count - 1, self._filename, data))
        self._data = BytesIO()
