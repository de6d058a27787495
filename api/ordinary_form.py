"""The form that nearly every client sends, one picture and nothing else, found by two searches instead of a parser.

Whatever is written in any other way is the real parser's: it is given the same bytes, and its word counts.
"""

import re
from io import BytesIO

from api.problems import BodyTooLargeError

FIELD = "image"
# Bounded, and without what needs unescaping or decoding: quotes, backslashes, anything but printable ASCII.
_HEAD = re.compile(
    rb'Content-Disposition: form-data; name="image"(?:; filename="([ !#-\[\]-~]{1,200})")?\r\n'
    rb"(?:Content-Type: [!-~][ -~]{0,99}\r\n)?\r\n",
)
_MAX_BOUNDARY = 70  # RFC 2046


class OrdinaryForm:
    """Takes a body chunk by chunk as long as it is ordinary.

    `complete`: `picture()` has all of it. After a refused chunk `seen()` has what was fed so far, that chunk included.
    """

    def __init__(self, boundary: bytes, max_bytes: int) -> None:
        self.complete = False
        self.filename: str | None = None
        self._delimiter = b"\r\n--" + boundary
        self._may_be = len(boundary) <= _MAX_BOUNDARY
        self._max_bytes = max_bytes
        self._head = self._tail = b""
        self._data = BytesIO()

    def feed(self, chunk: bytes) -> bool:
        """False where the form is not ordinary. Raises BodyTooLargeError."""
        if self.complete:
            return True  # what follows the closing boundary means nothing (RFC 2046)
        begin = 0 if self._head else self._begin(chunk)
        end = chunk.find(self._delimiter, begin)
        if begin < 0 or self._straddles(chunk, begin):
            self._data.write(chunk)
            return False
        if end < 0:
            return self._keep(chunk, begin)
        return self._close(chunk, begin, end)

    def picture(self) -> bytes:
        """Its own bytes, copied once out of what arrived."""
        return self._data.getvalue()

    def seen(self) -> bytes:
        return self._head + self._data.getvalue()

    def _begin(self, chunk: bytes) -> int:
        """Where the picture begins; -1 where that is not clear."""
        first_line = self._delimiter[2:] + b"\r\n"
        if not self._may_be or not chunk.startswith(first_line):
            return -1
        head = _HEAD.match(chunk, len(first_line))
        if not head:
            return -1
        self._head = chunk[: head.end()]
        self.filename = head[1].decode("ascii") if head[1] else None
        return head.end()

    def _straddles(self, chunk: bytes, begin: int) -> bool:
        """Whether a delimiter begins in what came before."""
        near = len(self._delimiter) - 1
        return bool(self._tail) and self._delimiter in self._tail + chunk[begin : begin + near]

    def _keep(self, chunk: bytes, begin: int) -> bool:
        near = len(self._delimiter) - 1
        self._data.write(memoryview(chunk)[begin:])
        self._tail = (self._tail + chunk[begin:])[-near:] if len(chunk) - begin < near else chunk[-near:]
        if self._data.tell() - near > self._max_bytes:
            raise BodyTooLargeError(self._max_bytes)
        return True

    def _close(self, chunk: bytes, begin: int, end: int) -> bool:
        """The first delimiter must be the closing one."""
        if not chunk.startswith(b"--", end + len(self._delimiter)):
            self._data.write(memoryview(chunk)[begin:])
            return False
        self._data.write(memoryview(chunk)[begin:end])
        if self._data.tell() > self._max_bytes:
            raise BodyTooLargeError(self._max_bytes)
        self.complete = True
        return True
