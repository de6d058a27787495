"""GIF 87a and 89a headers. Pillow allocates a canvas when it opens a GIF, so its size has to be known before."""

import struct

from loaders.images.errors import CorruptImageError
from loaders.images.headers.header import Header

MAX_BLOCKS = 100_000

_EXTENSION, _IMAGE = 0x21, 0x2C


def read(data: bytes) -> Header:
    """The size is that of the screen, extended to hold the first frame (as in Pillow)."""
    width, height, flags = struct.unpack_from("<HHB", data, 6)
    image = _find_first_image(data, 13 + (3 << (flags & 7) + 1 if flags & 0x80 else 0))
    left, top, frame_width, frame_height = struct.unpack_from("<HHHH", data, image + 1)
    if 0 in (frame_width, frame_height):
        raise CorruptImageError("This GIF's first frame has no pixels.")
    return Header("GIF", max(width, left + frame_width), max(height, top + frame_height))


def _find_first_image(data: bytes, position: int) -> int:
    for _ in range(MAX_BLOCKS):
        if data[position] == _IMAGE:
            return position
        if data[position] != _EXTENSION:
            raise CorruptImageError("This GIF contains no picture.")
        position += 2
        while size := data[position]:
            position += 1 + size
        position += 1
    raise CorruptImageError(f"This GIF has more than {MAX_BLOCKS:,} blocks.")
