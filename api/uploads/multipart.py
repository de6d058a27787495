"""multipart/form-data (RFC 7578), parsed as it arrives: each field's bytes go straight to where they are wanted."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser

from api.disposition import field_of
from api.problems import MalformedMultipartError

logging.getLogger("python_multipart").setLevel(logging.ERROR)  # what is wrong with a form its sender is told

Write = Callable[[memoryview], None]
# Called with a field's name and filename; gives what takes its bytes, or raises to refuse the field.
OpenField = Callable[[str, str | None], Write]


class MultipartReader:
    """Reads one body. python-multipart bounds part headers in number and size; fields are bounded by `open_field`.

    `close_field` is called when all of a field's bytes are written.
    """

    def __init__(self, boundary: bytes, open_field: OpenField, close_field: Callable[[], None] | None = None) -> None:
        self._open_field = open_field
        self._write: Write | None = None
        self._ended = False
        self._header_name = self._header_value = b""
        self._disposition = ""
        callbacks: dict[str, Callable[..., None]] = {
            "on_part_begin": self._on_part_begin,
            "on_header_begin": self._on_header_begin,
            "on_header_field": self._on_header_field,
            "on_header_value": self._on_header_value,
            "on_header_end": self._on_header_end,
            "on_headers_finished": self._on_headers_finished,
            "on_part_data": self._on_part_data,
            "on_end": self._on_end,
        }
        if close_field:
            callbacks["on_part_end"] = close_field
        try:
            self._parser = MultipartParser(boundary, callbacks)  # type: ignore[arg-type]  # a TypedDict of the same
        except FormParserError:
            raise MalformedMultipartError("The multipart boundary is too long.") from None

    async def read(self, chunks: AsyncIterator[bytes], *, in_thread: bool = False) -> None:
        """With `in_thread`, `open_field` and its writers run there: they may wait for a disk.

        Raises MalformedMultipartError, and what `open_field` and its writers raise.
        """
        async for chunk in chunks:
            if in_thread:
                await asyncio.to_thread(self.feed, chunk)
            else:
                self.feed(chunk)
        self.finish()

    def feed(self, chunk: bytes) -> None:
        """Raises MalformedMultipartError, and what `open_field` and its writers raise."""
        try:
            self._parser.write(chunk)
        except FormParserError as error:
            raise MalformedMultipartError(f"The multipart body is malformed: {error}.") from None

    def finish(self) -> None:
        """Raises MalformedMultipartError when the body is not complete."""
        if not self._ended:
            raise MalformedMultipartError("The multipart body ends before its closing boundary.")

    def _on_part_begin(self) -> None:
        self._disposition = ""

    def _on_header_begin(self) -> None:
        self._header_name = self._header_value = b""

    def _on_header_field(self, data: bytes, start: int, end: int) -> None:
        self._header_name += data[start:end]

    def _on_header_value(self, data: bytes, start: int, end: int) -> None:
        self._header_value += data[start:end]

    def _on_header_end(self) -> None:
        if self._header_name.lower() == b"content-disposition":
            if self._disposition:
                raise MalformedMultipartError("A part of the form has two Content-Dispositions.")
            self._disposition = self._header_value.decode("latin-1")

    def _on_headers_finished(self) -> None:
        self._write = self._open_field(*field_of(self._disposition))

    def _on_part_data(self, data: bytes, start: int, end: int) -> None:
        if self._write:
            self._write(memoryview(data)[start:end])

    def _on_end(self) -> None:
        self._ended = True
