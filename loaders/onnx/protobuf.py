"""Reads the wire format of protocol buffers, skipping fields by their length.

https://protobuf.dev/programming-guides/encoding/
"""

from collections.abc import Iterator
from typing import BinaryIO, NamedTuple

_BLOCK = 1 << 16  # bytes
_HEAD = 64  # bytes
_MAX_VARINT = 10  # bytes
_MAX_STRING = 1 << 24  # bytes; the longest in ONNX files are lists of class names
_MAX_FIELDS = 2_000_000  # in one file: about two seconds
_VARINT, _FIXED64, _MESSAGE, _FIXED32 = 0, 1, 2, 5


class WireError(ValueError):
    """The bytes are not a valid message."""


class EndOfDataError(WireError):
    """A field extends beyond the end of the file."""


class Field(NamedTuple):
    """The `value` of a varint, or the range `start` to `stop` of a string or message."""

    number: int
    value: int = 0
    start: int = 0
    stop: int = 0


class WireReader:
    """Reads fields at any position of a file, block by block.

    A memory map would kill the process (SIGBUS) if another one truncated the file.
    """

    def __init__(self, file: BinaryIO, size: int) -> None:
        self._file, self.size = file, size
        self._block, self._block_start = b"", 0
        self._fields_left = _MAX_FIELDS

    def head(self) -> bytes:
        """Returns the first bytes, to recognise files that are not models."""
        return self._read(0, min(self.size, _HEAD))

    def fields(self, start: int, stop: int) -> Iterator[Field]:
        """Yields the fields of the message at `start` to `stop`, in file order."""
        position = start
        while position < stop:
            field, position = self._field(position, stop)
            yield field

    def messages(self, field: Field) -> Iterator[Field]:
        return self.fields(field.start, field.stop)

    def text(self, field: Field) -> str:
        """Decodes UTF-8; invalid bytes become U+FFFD."""
        if field.stop - field.start > _MAX_STRING:
            raise WireError(f"a string of more than {_MAX_STRING >> 20} MiB")
        return self._read(field.start, field.stop).decode("utf-8", errors="replace")

    def _field(self, position: int, stop: int) -> tuple[Field, int]:
        self._count()
        key, position = self._varint(position, stop)
        number, kind = key >> 3, key & 7
        if number == 0:
            raise WireError("a field without a number")
        if kind == _VARINT:
            value, position = self._varint(position, stop)
            return Field(number, value=value), position
        if kind == _MESSAGE:
            length, position = self._varint(position, stop)
        else:
            length = {_FIXED64: 8, _FIXED32: 4}.get(kind, -1)
        if length < 0:
            raise WireError(f"a field of the unknown kind {kind}")
        if position + length > stop:
            raise EndOfDataError if position + length > self.size else WireError("a field longer than its message")
        return Field(number, start=position, stop=position + length), position + length

    def _count(self) -> None:
        self._fields_left -= 1
        if self._fields_left < 0:
            raise WireError("too many fields")

    def _varint(self, position: int, stop: int) -> tuple[int, int]:
        data, offset = self._around(position)
        if position < stop and offset < len(data) and data[offset] < 0x80:  # most are one byte
            return data[offset], position + 1
        value = 0
        for i in range(min(_MAX_VARINT, stop - position)):
            if offset + i >= len(data):
                break
            byte = data[offset + i]
            value |= (byte & 0x7F) << (7 * i)
            if byte < 0x80:
                return value & 0xFFFF_FFFF_FFFF_FFFF, position + i + 1
        if stop - position >= _MAX_VARINT or stop < self.size:
            raise WireError("an endless number")
        raise EndOfDataError

    def _around(self, position: int) -> tuple[bytes, int]:
        """Returns a block and the offset of `position` in it; a whole varint fits behind it unless the file ends."""
        offset = position - self._block_start
        if offset < 0 or offset + _MAX_VARINT > len(self._block):
            self._file.seek(position)
            self._block, self._block_start, offset = self._file.read(_BLOCK), position, 0
        return self._block, offset

    def _read(self, start: int, stop: int) -> bytes:
        offset = start - self._block_start
        if offset >= 0 and stop - self._block_start <= len(self._block):
            return self._block[offset : stop - self._block_start]
        self._file.seek(start)
        data = self._file.read(stop - start)
        if len(data) < stop - start:
            raise EndOfDataError
        return data


def signed(value: int) -> int:
    """Converts a varint to int64."""
    return value - (1 << 64) if value >> 63 else value
