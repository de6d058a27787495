"""Boxes of ISO base media files (ISO/IEC 14496-12)."""

import struct
from collections.abc import Iterator

from loaders.images.errors import CorruptImageError

MAX_BOXES = 10_000  # in one container


def boxes(data: bytes, start: int, end: int) -> Iterator[tuple[bytes, int, int]]:
    """Yields type, start and end of the contents of each box."""
    end = min(end, len(data))
    for _ in range(MAX_BOXES):
        if start + 8 > end:
            return
        size, kind = struct.unpack_from(">I4s", data, start)
        contents = start + 8
        if size == 1:
            (size,) = struct.unpack_from(">Q", data, contents)
            contents += 8
        stop = end if size == 0 else start + size
        if stop < contents:
            raise CorruptImageError("This picture's container has a box with an invalid size.")
        yield kind, contents, min(stop, end)
        start = stop
    raise CorruptImageError(f"This picture's container has more than {MAX_BOXES:,} boxes.")


def find(data: bytes, start: int, end: int, *path: bytes) -> tuple[int, int] | None:
    """Returns start and end of the contents of the first box at that path."""
    for name in path:
        for kind, box_start, box_end in boxes(data, start, end):
            if kind == name:
                start, end = box_start, box_end
                break
        else:
            return None
    return start, end
