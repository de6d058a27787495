"""The orientation in EXIF, or else in XMP, by the rules of Pillow's `getexif`."""

import re
import struct

from loaders.images.headers.directory import Directory

ORIENTATION_TAG = 274
_EXIF_PREFIX = b"Exif\x00\x00"
_XMP_ORIENTATION = re.compile(rb'tiff:Orientation(?:="|>)([0-9])')


def find_orientation(exif: bytes | None, xmp: bytes | None = None) -> int:
    """Returns 1 to 8, and 1 for invalid values. XMP counts only where EXIF has no orientation."""
    value = _from_exif(exif) if exif else None
    if value is None and xmp and (match := _XMP_ORIENTATION.search(xmp)):
        value = int(match[1])
    return valid_orientation(value)


def valid_orientation(value: int | None) -> int:
    return value if value is not None and 1 <= value <= 8 else 1


def _from_exif(exif: bytes) -> int | None:
    for _ in range(2):
        exif = exif.removeprefix(_EXIF_PREFIX)
    try:
        return Directory.first(exif).integer(ORIENTATION_TAG)
    except (ValueError, struct.error, OverflowError):
        return None
