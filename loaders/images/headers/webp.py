"""WebP headers (RFC 9649)."""

import struct
from collections.abc import Iterator

from loaders.images.errors import CorruptImageError
from loaders.images.headers.header import Header
from loaders.images.headers.orientation import find_orientation

MAX_CHUNKS = 100_000

_XMP, _EXIF, _ALPHA = 0x04, 0x08, 0x10


def read(data: bytes) -> Header:
    (riff_size,) = struct.unpack_from("<I", data, 4)
    kind = data[12:16]
    complete = riff_size + 8 <= len(data)
    if kind == b"VP8X":
        return _extended(data, complete)
    if kind == b"VP8L":
        return _lossless(data, complete)
    return _lossy(data, complete)


def _lossy(data: bytes, complete: bool) -> Header:
    start_code, width, height = struct.unpack_from("<3sHH", data, 23)
    if start_code != b"\x9d\x01\x2a":
        raise CorruptImageError("This WebP does not start with a key frame.")
    return Header("WebP", width & 0x3FFF, height & 0x3FFF, complete=complete)


def _lossless(data: bytes, complete: bool) -> Header:
    signature, bits = struct.unpack_from("<BI", data, 20)
    if signature != 0x2F:
        raise CorruptImageError("This WebP has no valid lossless signature.")
    width, height = (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    return Header("WebP", width, height, has_alpha=bool(bits >> 28 & 1), complete=complete)


def _extended(data: bytes, complete: bool) -> Header:
    flags, size = struct.unpack_from("<B3x6s", data, 20)
    metadata: dict[bytes, bytes] = {}
    if flags & (_EXIF | _XMP):
        for kind, start, end in _chunks(data):
            if kind in {b"EXIF", b"XMP "}:
                metadata.setdefault(kind, data[start:end])
    return Header(
        "WebP",
        int.from_bytes(size[:3], "little") + 1,
        int.from_bytes(size[3:], "little") + 1,
        find_orientation(metadata.get(b"EXIF"), metadata.get(b"XMP ")),
        has_alpha=bool(flags & _ALPHA),
        complete=complete,
    )


def _chunks(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Yields type, start and end of the payload of each chunk."""
    position, header = 12, struct.Struct("<4sI")
    for _ in range(MAX_CHUNKS):
        if position + 8 > len(data):
            return
        kind, size = header.unpack_from(data, position)
        yield kind, position + 8, position + 8 + size
        position += 8 + size + (size & 1)
    raise CorruptImageError(f"This WebP has more than {MAX_CHUNKS:,} chunks.")
