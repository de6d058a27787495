"""JPEG headers (ITU-T T.81), with EXIF and XMP in APP1."""

import re
import struct

from loaders.images.errors import CorruptImageError, TruncatedImageError, UnsupportedFormatError
from loaders.images.headers.header import Header
from loaders.images.headers.orientation import find_orientation

MAX_SEGMENTS = 10_000
MAX_SCANS = 100  # real progressive files have about 10
MAX_SCANNED_PIXELS = 3_000_000_000  # scans x pixels: an empty scan, too, costs a pass over the picture

_MARKER = re.compile(rb"\xff[\x01-\xfe]")
_MARKER_AFTER_SCAN = re.compile(rb"\xff[\x01-\xcf\xd8-\xfe]")  # not a stuffed byte, not a restart marker
_SOI, _EOI, _SOS, _APP1 = 0xD8, 0xD9, 0xDA, 0xE1
_ALONE = frozenset({0x01, *range(0xD0, 0xD8)})
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_PROGRESSIVE = frozenset({0xC2, 0xC6, 0xCA, 0xCE})
_DCT = frozenset({0xC0, 0xC1, 0xC2, 0xC9, 0xCA})
_EXIF = b"Exif\x00\x00"
_XMP = b"http://ns.adobe.com/xap/1.0/\x00"


# marker, precision, height, width, components
_Frame = tuple[int, int, int, int, int]


def read(data: bytes, supported: tuple[str, ...]) -> Header:
    """Reads up to the first scan. `complete` is left to `scan_count`, which reads all of the data."""
    frame: _Frame | None = None
    exif = xmp = None
    end = 2
    for _ in range(MAX_SEGMENTS):
        marker, start, end = _next_segment(data, end)
        if marker == _SOS:
            return _header(frame, find_orientation(exif, xmp), data[start + 4], end, supported)
        if marker == _APP1:
            payload = data[start + 4 : end]
            if exif is None and payload.startswith(_EXIF):
                exif = payload
            elif payload.startswith(_XMP):
                xmp = payload
        elif marker in _FRAMES:
            if frame:
                raise CorruptImageError("This JPEG has two frame headers.")
            frame = (marker, *struct.unpack_from(">BHHB", data, start + 4))
    raise CorruptImageError(f"This JPEG has more than {MAX_SEGMENTS:,} segments.")


def _next_segment(data: bytes, position: int) -> tuple[int, int, int]:
    """Returns a marker, and start and end of its segment."""
    match = _MARKER.search(data, position)
    if match is None:
        raise TruncatedImageError("This JPEG is incomplete: its data end within the header.")
    marker, start = data[match.start() + 1], match.start()
    if marker in _ALONE:
        return marker, start, start + 2
    if marker in (_SOI, _EOI):
        raise CorruptImageError("This JPEG contains no picture.")
    (length,) = struct.unpack_from(">H", data, start + 2)
    if length < 2:
        raise CorruptImageError("This JPEG has a segment with an invalid length.")
    if start + 2 + length > len(data):
        raise TruncatedImageError("This JPEG is incomplete: its data end within the header.")
    return marker, start, start + 2 + length


def _header(
    frame: _Frame | None, orientation: int, scanned: int, scan_start: int, supported: tuple[str, ...]
) -> Header:
    """`scanned`: components in the first scan."""
    if frame is None:
        raise CorruptImageError("This JPEG has no frame header.")
    marker, precision, height, width, components = frame
    if marker not in _DCT:
        raise UnsupportedFormatError("Lossless and hierarchical JPEG", supported)
    if precision != 8:
        raise UnsupportedFormatError(f"{precision}-bit JPEG", supported)
    multi_scan = marker in _PROGRESSIVE or scanned < components
    return Header("JPEG", width, height, orientation, channels=components, multi_scan=multi_scan, scan_start=scan_start)


def scan_count(data: bytes, header: Header) -> int | None:
    """Returns the number of scans before the end marker; None if the data have no end marker.

    Raises CorruptImageError for more scans than any real file has.
    """
    if not header.multi_scan and data.endswith(b"\xff\xd9"):
        return 1
    scans, position = 1, header.scan_start
    for _ in range(MAX_SEGMENTS):
        match = _MARKER_AFTER_SCAN.search(data, position)
        if match is None:
            return None
        marker, position = data[match.start() + 1], match.end()
        if marker == _EOI:
            return scans
        scans += marker == _SOS and header.multi_scan
        if scans > MAX_SCANS or scans * header.width * header.height > MAX_SCANNED_PIXELS:
            break
        position += int.from_bytes(data[position : position + 2], "big") if marker not in _ALONE else 0
    raise CorruptImageError("This JPEG has too many scans.")
