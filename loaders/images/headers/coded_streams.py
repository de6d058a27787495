"""The coded data in an ISO base media file: items, and the first sample of each track."""

import struct
from collections.abc import Iterator
from itertools import islice

from loaders.images.errors import CorruptImageError
from loaders.images.headers.boxes import boxes, find

MAX_ITEMS = 1024  # real ones have a few, or one a tile
MAX_EXTENTS = 1024  # of one item
MAX_TRACKS = 8


def coded_items(data: bytes) -> Iterator[bytes]:
    """Yields the bytes of every item. Raises CorruptImageError, struct.error."""
    meta = find(data, 0, len(data), b"meta")
    locations = find(data, meta[0] + 4, meta[1], b"iloc") if meta else None
    if meta is None or locations is None:
        return
    own = find(data, meta[0] + 4, meta[1], b"idat") or (0, 0)
    left = len(data)
    for in_meta, extents in _locations(data, locations[0]):
        start = own[0] if in_meta else 0
        left -= sum(size or len(data) - at for at, size in extents)
        if left < 0:
            raise CorruptImageError("This picture's container has items that overlap.")
        pieces = [data[start + at : start + at + size] if size else data[start + at :] for at, size in extents]
        yield pieces[0] if len(pieces) == 1 else b"".join(pieces)


def first_samples(data: bytes) -> Iterator[bytes]:
    """Yields the first picture of each track."""
    movie = find(data, 0, len(data), b"moov")
    tracks = (box for box in boxes(data, *movie) if box[0] == b"trak") if movie else iter(())
    for _, start, end in islice(tracks, MAX_TRACKS):
        table = find(data, start, end, b"mdia", b"minf", b"stbl")
        sizes = find(data, *table, b"stsz") if table else None
        if table is None or sizes is None:
            continue
        each, count = struct.unpack_from(">II", data, sizes[0] + 4)
        size = each or (struct.unpack_from(">I", data, sizes[0] + 12)[0] if count else 0)
        for name, layout in ((b"stco", ">II"), (b"co64", ">IQ")):
            chunks = find(data, *table, name)
            if chunks:
                offset = struct.unpack_from(layout, data, chunks[0] + 4)[1]
                yield data[offset : offset + size]


def _locations(data: bytes, position: int) -> Iterator[tuple[bool, list[tuple[int, int]]]]:
    """Yields for each item whether its data lie in the meta box (`idat`), and (offset, length) of its extents."""
    reader = _Reader(data, position)
    version = reader.number(1)
    reader.number(3)
    sizes = reader.number(2)
    offset_size, length_size, base_size, index_size = (sizes >> shift & 15 for shift in (12, 8, 4, 0))
    items = reader.number(2 if version < 2 else 4)
    if items > MAX_ITEMS:
        raise CorruptImageError(f"This picture's container has more than {MAX_ITEMS:,} items.")
    for _ in range(items):
        reader.number(2 if version < 2 else 4)
        method = reader.number(2) & 15 if version else 0
        reader.number(2)
        base = reader.number(base_size)
        extents = []
        count = reader.number(2)
        if count > MAX_EXTENTS:
            raise CorruptImageError(f"This picture's container has an item of more than {MAX_EXTENTS:,} extents.")
        for _ in range(count):
            reader.number(index_size if version else 0)
            extents.append((base + reader.number(offset_size), reader.number(length_size)))
        if extents:
            yield method == 1, extents


class _Reader:
    """Reads big-endian numbers in order. Raises struct.error at the end of the data."""

    def __init__(self, data: bytes, position: int) -> None:
        self._data, self._position = data, position

    def number(self, size: int) -> int:
        end = self._position + size
        if end > len(self._data):
            raise struct.error
        value = int.from_bytes(self._data[self._position : end])
        self._position = end
        return value
