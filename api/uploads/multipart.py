"""multipart/form-data (RFC 7578) by python-multipart, parsed as it arrives."""

import logging
from collections.abc import Callable
from typing import Protocol

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.requests import Request

from api.headers import header
from api.problems import MalformedMultipartError

# Boundaries and part headers around one file.
ENVELOPE_BYTES = 64 * 1024
_MAX_FILENAME_CHARACTERS = 255

logging.getLogger("python_multipart").setLevel(logging.ERROR)  # the response names the error

Write = Callable[[memoryview], None]


class Form(Protocol):
    """Takes the fields of a form as they arrive."""

    def open_field(self, name: str, filename: str | None) -> Write:
        """Returns the function that takes the field's bytes. Raises RequestError to reject the field."""

    def close_field(self) -> None:
        """Called after the last byte of the field."""


def multipart_boundary(request: Request) -> bytes | None:
    """The boundary of a form; None for any other body. Raises MalformedMultipartError for a form without one."""
    media_type, options = parse_options_header(header(request.scope, b"content-type"))
    if media_type != b"multipart/form-data":
        return None
    boundary = options.get(b"boundary")
    if not boundary:
        raise MalformedMultipartError("The Content-Type multipart/form-data has no boundary.")
    return boundary


class MultipartReader:
    """Feeds chunks to python-multipart, which limits number and size of part headers; `form` limits the fields."""

    def __init__(self, boundary: bytes, form: Form) -> None:
        self._parts = _Parts(form)
        try:
            self._parser = MultipartParser(boundary, self._parts.callbacks())  # type: ignore[arg-type]  # a TypedDict of the same
        except FormParserError:
            raise MalformedMultipartError("The multipart boundary is too long.") from None

    def feed(self, chunk: bytes) -> None:
        """Raises MalformedMultipartError, and what the form raises."""
        try:
            self._parser.write(chunk)
        except FormParserError as error:
            raise MalformedMultipartError(f"The multipart body is malformed: {error}.") from None

    def finish(self) -> None:
        """Raises MalformedMultipartError if the body is incomplete."""
        if not self._parts.ended:
            raise MalformedMultipartError("The multipart body ends before its closing boundary.")


class _Parts:
    """The parser's callbacks. Holds no reference to the parser: a reference cycle would keep pictures in memory."""

    def __init__(self, form: Form) -> None:
        self._form = form
        self._write: Write | None = None
        self.ended = False
        self._name = self._value = b""
        self._disposition: bytes | None = None

    def callbacks(self) -> dict[str, Callable[..., None]]:
        return {
            "on_header_field": self._on_header_field,
            "on_header_value": self._on_header_value,
            "on_header_end": self._on_header_end,
            "on_headers_finished": self._on_headers_finished,
            "on_part_data": self._on_part_data,
            "on_part_end": self._form.close_field,
            "on_end": self._on_end,
        }

    def _on_header_field(self, data: bytes, start: int, end: int) -> None:
        self._name += data[start:end]

    def _on_header_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _on_header_end(self) -> None:
        if self._name.lower() == b"content-disposition":
            if self._disposition is not None:
                raise MalformedMultipartError("A part of the form has two Content-Disposition headers.")
            self._disposition = self._value
        self._name = self._value = b""

    def _on_headers_finished(self) -> None:
        disposition, self._disposition = self._disposition, None
        kind, options = parse_options_header(disposition)
        if kind != b"form-data" or b"name" not in options:
            raise MalformedMultipartError("A part of the form has no 'Content-Disposition: form-data; name=...'.")
        filename = options.get(b"filename")
        shown = filename.decode("utf-8", "replace")[:_MAX_FILENAME_CHARACTERS] if filename else None
        self._write = self._form.open_field(options[b"name"].decode("utf-8", "replace"), shown)

    def _on_part_data(self, data: bytes, start: int, end: int) -> None:
        if self._write:
            self._write(memoryview(data)[start:end])

    def _on_end(self) -> None:
        self.ended = True
