"""GIF 87a and 89a headers."""

import struct

from loaders.images.errors import CorruptImageError
from loaders.images.headers.header import Header, merge_parts

MAX_BLOCKS = 100_000

_EXTENSION, _IMAGE, _GRAPHIC_CONTROL = 0x21, 0x2C, 0xF9


def read(data: bytes) -> Header:
    """The size is that of the screen, extended to hold the first frame (as in Pillow)."""
    width, height, flags = struct.unpack_from("<HHB", data, 6)
    start = 13 + (3 << (flags & 7) + 1 if flags & 0x80 else 0)
    control, image = _find_first_image(data, start)
    left, top, frame_width, frame_height = struct.unpack_from("<HHHH", data, image + 1)
    if 0 in (frame_width, frame_height):
        raise CorruptImageError("This GIF's first frame has no pixels.")
    return Header(
        "GIF",
        max(width, left + frame_width),
        max(height, top + frame_height),
        has_alpha=True,
        parts=merge_parts([(0, start), *control, (image, len(data))], len(data)),
    )


def _find_first_image(data: bytes, position: int) -> tuple[list[tuple[int, int]], int]:
    """Returns the range of the graphic control before the first image, if any, and that image's position."""
    control: list[tuple[int, int]] = []
    for _ in range(MAX_BLOCKS):
        kind = data[position]
        if kind == _IMAGE:
            return control, position
        if kind != _EXTENSION:
            raise CorruptImageError("This GIF contains no picture.")
        end = _skip_sub_blocks(data, position + 2)
        if data[position + 1] == _GRAPHIC_CONTROL:
            control = [(position, end)]
        position = end
    raise CorruptImageError(f"This GIF has more than {MAX_BLOCKS:,} blocks.")


def _skip_sub_blocks(data: bytes, position: int) -> int:
    for _ in range(MAX_BLOCKS):
        size = data[position]
        position += 1 + size
        if size == 0:
            return position
    raise CorruptImageError(f"This GIF has more than {MAX_BLOCKS:,} blocks.")
