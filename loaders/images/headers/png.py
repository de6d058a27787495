"""PNG and APNG headers (W3C PNG specification, third edition)."""

import struct
import zlib
from collections.abc import Iterator

from loaders.images.errors import CorruptImageError
from loaders.images.headers.header import Header
from loaders.images.headers.orientation import find_orientation

MAX_CHUNKS = 100_000  # an encoder that writes 8 KB a chunk fills 800 MB with these

_DECODED = frozenset({b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND"})
_GREY, _COLOUR_TYPES = 0, (0, 2, 3, 4, 6)
_XMP_HEAD = b"XML:com.adobe.xmp\x00\x00"  # keyword and compression flag: XMP is not compressed


def read(data: bytes) -> Header:
    """Reads all chunks but those of pixels; EXIF may come after them."""
    width, height, bit_depth, colour_type = _image_header(data)
    found: dict[bytes, bytes] = {}
    parts = [(0, 8)]
    for kind, start, end in _chunks(data):
        if kind in _DECODED and parts[-1][1] == start:
            parts[-1] = (parts[-1][0], end)
        elif kind in _DECODED:
            parts.append((start, end))
        if kind in {b"tRNS", b"eXIf", b"IEND"}:
            found.setdefault(kind, data[start + 8 : end - 4])
        elif kind == b"iTXt" and data.startswith(_XMP_HEAD, start + 8):
            found[kind] = data[start + 8 : end - 4]
    key = found.get(b"tRNS")
    return Header(
        "PNG",
        width,
        height,
        find_orientation(found.get(b"eXIf"), found.get(b"iTXt")),
        bit_depth=bit_depth,
        has_alpha=colour_type in (4, 6) or key is not None,
        complete=b"IEND" in found,
        transparent_grey=int.from_bytes(key[:2], "big") if key and colour_type == _GREY else None,
        parts=() if parts == [(0, len(data))] else tuple(parts),
    )


def _image_header(data: bytes) -> tuple[int, int, int, int]:
    kind, width, height, bit_depth, colour_type = struct.unpack_from(">4sIIBB", data, 12)
    if kind != b"IHDR" or colour_type not in _COLOUR_TYPES or bit_depth not in (1, 2, 4, 8, 16):
        raise CorruptImageError("This PNG does not start with a valid header.")
    return width, height, bit_depth, colour_type


def _chunks(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Yields type, start and end of each whole chunk, to IEND or the end of the data."""
    position, size, header = 8, len(data), struct.Struct(">I4s")
    for _ in range(MAX_CHUNKS):
        if position + 12 > size:
            return
        length, kind = header.unpack_from(data, position)
        end = position + 12 + length
        if end > size:
            return
        yield kind, position, end
        if kind == b"IEND":
            return
        position = end
    raise CorruptImageError(f"This PNG has more than {MAX_CHUNKS:,} chunks.")


def without_metadata(data: bytes, header: Header) -> bytes:
    """Returns the first picture without text and profiles, which may only make a decoder fail."""
    return b"".join([data[start:end] for start, end in header.parts]) if header.parts else data


def check_sums(data: bytes) -> None:
    """Raises CorruptImageError for a wrong checksum. (libpng checks those of pixels, Pillow does not.)"""
    view = memoryview(data)
    for _, start, end in _chunks(data):
        if zlib.crc32(view[start + 4 : end - 4]) != int.from_bytes(view[end - 4 : end], "big"):
            raise CorruptImageError("This PNG is damaged: a checksum is wrong.")
