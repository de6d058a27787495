"""What a picture is and how large, from its bytes alone and before any decoder sees them.

`read_header` is the way in. One file for each family of formats; none of them believes a length, an offset or
a count it was given, and each loop has an end.
"""

import struct
from collections.abc import Callable

from loaders.images.errors import (
    CorruptImageError,
    EmptyImageError,
    TruncatedImageError,
    UnsupportedFormatError,
)
from loaders.images.headers import bmp, gif, isobmff, jpeg, png, tiff, webp
from loaders.images.headers.header import Header
from loaders.images.headers.sniff import sniff

__all__ = ["READABLE", "Header", "read_header"]

READABLE = ("JPEG", "PNG", "WebP", "GIF", "BMP", "TIFF", "AVIF", "HEIC")

_HEIC_REMEDY = "To have HEIC read, the operator can install pillow-heif (requirements/heif.txt)."
_READERS: dict[str, Callable[[bytes], Header]] = {
    "PNG": png.read,
    "WebP": webp.read,
    "GIF": gif.read,
    "BMP": bmp.read,
    "TIFF": tiff.read,
}


def read_header(data: bytes, supported: tuple[str, ...] = READABLE) -> Header:
    """Raises EmptyImageError, UnsupportedFormatError, CorruptImageError (or its Truncated kind); no other."""
    if not data:
        raise EmptyImageError
    name = sniff(data)
    if name is None:
        known = ", ".join(supported)
        raise CorruptImageError(f"This is not a picture in a format known here. Supported: {known}.")
    if name not in supported:
        raise UnsupportedFormatError(name, supported, _HEIC_REMEDY if name == "HEIC" else "")
    try:
        header = _read(name, data, supported)
    except (struct.error, IndexError, OverflowError) as error:
        raise TruncatedImageError(f"This {name} ends within its header.") from error
    if header.width == 0 or header.height == 0:
        raise CorruptImageError(f"This {name} says it is {header.width} x {header.height} pixels.")
    return header


def _read(name: str, data: bytes, supported: tuple[str, ...]) -> Header:
    if name == "JPEG":
        return jpeg.read(data, supported)
    if name in ("AVIF", "HEIC"):
        return isobmff.read(data, name)
    return _READERS[name](data)
