"""Format and size of a picture, read from its bytes before pixels are decoded.

JPEG, PNG and WebP are read here, since OpenCV decodes them and does not tell their sizes before; GIF, since Pillow
allocates memory when it opens one; AVIF, since its frames may be larger than the picture that its header describes.
The readers trust no length, offset or count in the data, and bound every loop.
"""

import struct
from collections.abc import Callable

from loaders.images.errors import CorruptImageError, EmptyImageError, TruncatedImageError, UnsupportedFormatError
from loaders.images.formats import FORMATS
from loaders.images.headers import by_pillow, gif, isobmff, jpeg, png, webp
from loaders.images.headers.header import Header
from loaders.images.headers.sniff import sniff

__all__ = ["Header", "read_header"]

_HEIC_REMEDY = "To read HEIC, the operator can install pillow-heif (requirements/heif.txt)."
_READERS: dict[str, Callable[[bytes], Header]] = {
    "PNG": png.read,
    "WebP": webp.read,
    "GIF": gif.read,
    "AVIF": isobmff.read,
}


def read_header(data: bytes, supported: tuple[str, ...] = FORMATS) -> Header:
    """Raises EmptyImageError, UnsupportedFormatError, CorruptImageError or TruncatedImageError, for any bytes."""
    if not data:
        raise EmptyImageError
    name = sniff(data)
    if name is None:
        known = ", ".join(supported)
        raise CorruptImageError(f"This is not a picture in a known format. Supported: {known}.")
    if name not in supported:
        raise UnsupportedFormatError(name, supported, _HEIC_REMEDY if name == "HEIC" else "")
    try:
        header = _read(name, data, supported)
    except (struct.error, IndexError, OverflowError) as error:
        raise TruncatedImageError(f"This {name} is incomplete: its data end within the header.") from error
    if header.width == 0 or header.height == 0:
        raise CorruptImageError(f"This {name} has no pixels: its header says {header.width} x {header.height}.")
    return header


def _read(name: str, data: bytes, supported: tuple[str, ...]) -> Header:
    if name == "JPEG":
        return jpeg.read(data, supported)
    return _READERS[name](data) if name in _READERS else by_pillow.read(data, name)
