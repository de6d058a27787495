"""The boxes that ISO base media files (ISO/IEC 14496-12) are made of."""

import struct
from collections.abc import Iterator

from loaders.images.errors import CorruptImageError

MAX_BOXES = 10_000  # in one container


def boxes(data: bytes, start: int, end: int) -> Iterator[tuple[bytes, int, int]]:
    """Kind, start and end of each box's contents."""
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
            raise CorruptImageError("This picture's container has a box of an impossible size.")
        yield kind, contents, min(stop, end)
        start = stop
    raise CorruptImageError("This picture's container has too many boxes.")


def find(data: bytes, start: int, end: int, *path: bytes) -> tuple[int, int] | None:
    """The contents of the first box at that path."""
    for name in path:
        for kind, box_start, box_end in boxes(data, start, end):
            if kind == name:
                start, end = box_start, box_end
                break
        else:
            return None
    return start, end
