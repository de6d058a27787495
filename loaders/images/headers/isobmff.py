"""AVIF: pictures in ISO base media files (ISO/IEC 14496-12, 23008-12, AV1 Image File Format).

Orientation comes from the item's `irot` and `imir`; the specification says that readers ignore that of EXIF.
"""

import struct
from dataclasses import dataclass

from loaders.images.errors import CorruptImageError
from loaders.images.headers.av1 import largest_frame
from loaders.images.headers.boxes import boxes, find
from loaders.images.headers.coded_streams import coded_items, first_samples
from loaders.images.headers.header import Header

MAX_ITEMS = 65_536
# Frames may be larger than the picture: they are whole blocks, or tiles.
MAX_FRAME = 2  # times the pixels of the picture
SPARE_PIXELS = 1 << 20

# (quarter turns anticlockwise, mirror axis or None) -> EXIF orientation, as libavif and Pillow map them
_ORIENTATIONS = {
    (0, None): 1, (1, None): 8, (2, None): 3, (3, None): 6,
    (0, 0): 4, (0, 1): 2, (1, 0): 5, (1, 1): 7, (2, 0): 2, (2, 1): 4, (3, 0): 7, (3, 1): 5,
}  # fmt: skip


@dataclass(slots=True)
class _Properties:
    width: int = 0
    height: int = 0
    turns: int = 0
    mirror: int | None = None


def read(data: bytes) -> Header:
    meta = find(data, 0, len(data), b"meta")
    found = _item_properties(data, meta[0] + 4, meta[1]) if meta else _track_size(data)
    _check_frames(data, found.width * found.height)
    return Header("AVIF", found.width, found.height, _ORIENTATIONS[found.turns, found.mirror])


def _check_frames(data: bytes, pixels: int) -> None:
    """Decoders allocate the size that frames declare before they compare it with that of the container."""
    for stream in (*coded_items(data), *first_samples(data)):
        width, height = largest_frame(stream)
        if width * height > MAX_FRAME * pixels + SPARE_PIXELS:
            raise CorruptImageError("This AVIF contains a picture of another size than its header says.")


def _item_properties(data: bytes, start: int, end: int) -> _Properties:
    """Returns those of the primary item. libavif does not apply a crop (`clap`) while decoding."""
    primary = find(data, start, end, b"pitm")
    container = find(data, start, end, b"iprp", b"ipco")
    associations = find(data, start, end, b"iprp", b"ipma")
    if not (primary and container and associations):
        raise CorruptImageError("This picture's container does not say which picture to show.")
    item = struct.unpack_from(">I" if data[primary[0]] else ">H", data, primary[0] + 4)[0]
    available = list(boxes(data, *container))
    found = _Properties()
    for index in _associated(data, associations[0], item):
        if 0 < index <= len(available):
            _apply(data, found, available[index - 1])
    return found


def _associated(data: bytes, start: int, item: int) -> list[int]:
    """Returns the indices (from 1) of the properties of `item`."""
    version, flags, count = struct.unpack_from(">B3sI", data, start)
    entry = struct.Struct(">IB" if version else ">HB")
    two_bytes = flags[2] & 1
    position = start + 8
    for _ in range(min(count, MAX_ITEMS)):
        found, length = entry.unpack_from(data, position)
        position += entry.size
        if found == item:
            layout, mask = (f">{length}H", 0x7FFF) if two_bytes else (f">{length}B", 0x7F)
            return [value & mask for value in struct.unpack_from(layout, data, position)]
        position += length * (2 if two_bytes else 1)
    return []


def _apply(data: bytes, found: _Properties, box: tuple[bytes, int, int]) -> None:
    kind, start, end = box
    if end <= start:
        return
    if kind == b"ispe":
        found.width, found.height = struct.unpack_from(">II", data, start + 4)
    elif kind == b"irot":
        found.turns = data[start] & 3
    elif kind == b"imir":
        found.mirror = data[start] & 1


def _track_size(data: bytes) -> _Properties:
    """Returns the size of the first track, in 16.16 fixed point, for a sequence without a still picture."""
    header = find(data, 0, len(data), b"moov", b"trak", b"tkhd")
    if header is None or header[1] - header[0] < 84:
        raise CorruptImageError("This picture's container has no picture.")
    width, height = struct.unpack_from(">II", data, header[1] - 8)
    return _Properties(width >> 16, height >> 16)
