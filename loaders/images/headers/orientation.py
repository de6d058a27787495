"""The orientation in EXIF, or else in XMP, by the rules of Pillow's `getexif`; a tag of a TIFF directory."""

import re
import struct

ORIENTATION_TAG = 274
MAX_TAGS = 4096  # real directories have tens

_EXIF_PREFIX = b"Exif\x00\x00"
_XMP_ORIENTATION = re.compile(rb'tiff:Orientation(?:="|>)([0-9])')
_INTEGERS = {1: "B", 3: "H", 4: "I"}  # by the kind of a tag's values


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
        return tiff_integer(exif, ORIENTATION_TAG)
    except (ValueError, struct.error, OverflowError):
        return None


def tiff_integer(data: bytes, tag: int) -> int | None:
    """Returns the value of a tag in the first directory; None if it is absent, or not exactly one whole number.

    Raises ValueError for data that are not a TIFF, struct.error or OverflowError where they end early.
    """
    order = {b"II": "<", b"MM": ">"}.get(data[:2])
    if order is None:
        raise ValueError("no byte order mark")
    (version,) = struct.unpack_from(order + "H", data, 2)
    if version not in (42, 43):
        raise ValueError("neither TIFF nor BigTIFF")
    big = version == 43
    (offset,) = struct.unpack_from(order + ("Q" if big else "I"), data, 8 if big else 4)
    (count,) = struct.unpack_from(order + ("Q" if big else "H"), data, offset)
    if count > MAX_TAGS:
        raise ValueError("too many tags")
    entry, first = struct.Struct(order + ("HHQ8x" if big else "HHI4x")), offset + (8 if big else 2)
    for at in range(first, first + count * entry.size, entry.size):
        found, kind, values = entry.unpack_from(data, at)
        if found == tag:
            is_integer = values == 1 and kind in _INTEGERS
            value_at = at + (12 if big else 8)
            return int(struct.unpack_from(order + _INTEGERS[kind], data, value_at)[0]) if is_integer else None
    return None
