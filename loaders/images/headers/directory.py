"""TIFF directories: the tags of a TIFF's first picture, or of an EXIF block."""

import struct
from dataclasses import dataclass

MAX_ENTRIES = 4096  # real directories have tens of tags

BYTES_OF_TYPE = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}
_INTEGERS = {1: "B", 3: "H", 4: "I", 16: "Q"}


@dataclass(frozen=True, slots=True)
class Entry:
    """One tag; its data start at `at` in the file, inside the entry or elsewhere."""

    tag: int
    kind: int
    count: int
    at: int
    raw: bytes  # the whole entry, as in the file

    @property
    def bytes(self) -> int:
        return self.count * BYTES_OF_TYPE.get(self.kind, 1)

    @property
    def end(self) -> int:
        return self.at + self.bytes


@dataclass(frozen=True, slots=True)
class Directory:
    """The first directory of a file. Links to later directories are ignored, so they cannot form a loop."""

    data: bytes
    order: str
    big: bool
    offset: int  # of the number of entries, which follow it
    entries: dict[int, Entry]

    @classmethod
    def first(cls, data: bytes) -> "Directory":
        """Raises ValueError for data that are not a TIFF, struct.error or OverflowError where they end early."""
        order = {b"II": "<", b"MM": ">"}.get(data[:2])
        if order is None:
            raise ValueError("no byte order mark")
        (version,) = struct.unpack_from(order + "H", data, 2)
        if version not in (42, 43):
            raise ValueError("neither TIFF nor BigTIFF")
        big = version == 43
        (offset,) = struct.unpack_from(order + ("Q" if big else "I"), data, 8 if big else 4)
        (count,) = struct.unpack_from(order + ("Q" if big else "H"), data, offset)
        if count > MAX_ENTRIES:
            raise ValueError("too many tags")
        start = offset + (8 if big else 2)
        return cls(data, order, big, offset, _entries(data, order, big, start, count))

    def integer(self, tag: int) -> int | None:
        """Returns the value of a tag that holds exactly one whole number, else None."""
        entry = self.entries.get(tag)
        if entry is None or entry.count != 1:
            return None
        return self.first_integer(tag)

    def first_integer(self, tag: int) -> int | None:
        entry = self.entries.get(tag)
        if entry is None or entry.count == 0 or entry.kind not in _INTEGERS:
            return None
        value: int = struct.unpack_from(self.order + _INTEGERS[entry.kind], self.data, entry.at)[0]
        return value


def _entries(data: bytes, order: str, big: bool, start: int, count: int) -> dict[int, Entry]:
    """Returns entries by tag; the first of equal tags counts."""
    layout, inline = (struct.Struct(order + "HHQQ"), 8) if big else (struct.Struct(order + "HHII"), 4)
    entries: dict[int, Entry] = {}
    for position in range(start, start + count * layout.size, layout.size):
        tag, kind, values, offset = layout.unpack_from(data, position)
        fits = values * BYTES_OF_TYPE.get(kind, 1) <= inline
        at = position + layout.size - inline if fits else offset
        entries.setdefault(tag, Entry(tag, kind, values, at, data[position : position + layout.size]))
    return entries
