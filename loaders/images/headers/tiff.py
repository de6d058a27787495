"""TIFF 6.0 and BigTIFF headers: the first directory."""

import struct

from loaders.images.errors import CorruptImageError, TruncatedImageError
from loaders.images.headers.directory import BYTES_OF_TYPE, Directory, Entry
from loaders.images.headers.header import Header
from loaders.images.headers.orientation import ORIENTATION_TAG, valid_orientation

MAX_VALUES = 200_000  # in one tag: strips or tiles of a picture
# Decoders unpack whole tiles; those at the edges reach beyond the picture.
MAX_TILE = 2  # times the pixels of the picture
SPARE_PIXELS = 1 << 20

_WIDTH, _HEIGHT, _BITS, _SAMPLES = 256, 257, 258, 277
_TILE_WIDTH, _TILE_LENGTH = 322, 323
_ONE_VALUE = frozenset({_WIDTH, _HEIGHT, 259, 262, 266, _SAMPLES, 278, 284, 292, 293, 317, _TILE_WIDTH, _TILE_LENGTH})
# Tags that decide pixels: layout, compression, colour, strips, tiles, extra samples, JPEG tables, YCbCr
_DECODED = _ONE_VALUE | {_BITS, 273, 279, 301, 320, 324, 325, 332, 338, 339, 340, 341, 347, 512, 513, 514}
_DECODED |= {515, 517, 518, 519, 520, 521, 529, 530, 531, 532}


def read(data: bytes) -> Header:
    directory = _directory(data)
    width, height = directory.integer(_WIDTH) or 0, directory.integer(_HEIGHT) or 0
    tile = (directory.integer(_TILE_WIDTH) or 0) * (directory.integer(_TILE_LENGTH) or 0)
    if tile > MAX_TILE * width * height + SPARE_PIXELS:
        raise CorruptImageError("This TIFF has tiles that are much larger than its picture.")
    return Header(
        "TIFF",
        width,
        height,
        valid_orientation(directory.integer(ORIENTATION_TAG)),
        bit_depth=directory.first_integer(_BITS) or 1,
        channels=directory.integer(_SAMPLES) or 1,
    )


def _directory(data: bytes) -> Directory:
    try:
        return Directory.first(data)
    except ValueError as error:
        raise CorruptImageError("This TIFF has an invalid directory.") from error


def without_metadata(data: bytes) -> bytes:
    """Returns the TIFF with a directory of pixel tags only, each checked to lie within the data.

    Pillow warns about damaged metadata, and applies the orientation if it finds one. The new directory lies where the
    old one was, so that a truncated picture stays as long as it was.
    """
    directory = _directory(data)
    entries = [entry for tag, entry in sorted(directory.entries.items()) if tag in _DECODED]
    _check(entries, len(data))
    count, no_next = ("Q", 8) if directory.big else ("H", 4)
    pieces = [struct.pack(directory.order + count, len(entries)), *[entry.raw for entry in entries], bytes(no_next)]
    replaced = b"".join(pieces)
    return b"".join([data[: directory.offset], replaced, data[directory.offset + len(replaced) :]])


def _check(entries: list[Entry], size: int) -> None:
    for entry in entries:
        single = entry.tag in _ONE_VALUE and entry.count != 1
        if single or not 0 < entry.count <= MAX_VALUES or entry.kind not in BYTES_OF_TYPE:
            raise CorruptImageError("This TIFF has a tag with a wrong number or kind of values.")
    if any(entry.end > size for entry in entries) or sum(entry.bytes for entry in entries) > size:
        raise TruncatedImageError("This TIFF is incomplete: its data end before the picture does.")
