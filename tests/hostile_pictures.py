"""Hostile pictures: they take memory or time, or are valid in another format as well. Each has a few MB at most."""

import struct
import zlib
from collections.abc import Callable, Iterator

import numpy as np
from PIL import Image

from tests import pictures
from tests.paths import DATA

HUGE = 65_500
UNPACKED = 100_000_000  # bytes of a compressed part: twice the memory that a test allows
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF")

_SCENE = pictures.scene()
_DOT = b",\0\0\0\0\1\0\1\0\0\2\2L\1\0"  # a GIF's frame of one pixel
_TIFF_OF_ONE = {256: 64, 257: 64, 258: 8, 259: 1, 262: 1, 273: 8, 277: 1, 278: 64, 279: 4096}


def _encoded(image_format: str, **options: object) -> bytes:
    return pictures.encode(_SCENE, image_format, **options)


def _with(data: bytes, at: int, layout: str, *values: int) -> bytes:
    changed = bytearray(data)
    struct.pack_into(layout, changed, at, *values)
    return bytes(changed)


def _png_with_size(width: int, height: int) -> bytes:
    return pictures.png_header(width, height, 8, 2) + _encoded("PNG")[33:]


def _webp_with_size(width: int, height: int) -> bytes:
    data = _encoded("WEBP", xmp=b"x")
    sizes = (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    return data[:24] + sizes + data[30:]


def _avif_with_size(width: int, height: int) -> bytes:
    return _encoded("AVIF").replace(pictures.ispe(96, 64), pictures.ispe(width, height))


def _tiff(**tags: int) -> bytes:
    """64 x 64 grey pixels, with other values for some tags."""
    entries = sorted((_TIFF_OF_ONE | {int(tag[1:]): value for tag, value in tags.items()}).items())
    directory = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in entries)
    head = struct.pack("<2sHI", b"II", 42, 8 + 4096)
    return head + bytes(4096) + struct.pack("<H", len(entries)) + directory + bytes(4)


def _tiff_of_a_tile_bomb() -> bytes:
    """64 MiB of zeros in one tile, of which 64 x 64 are the picture."""
    side = 8192
    packed = zlib.compress(bytes(side * side), 1)
    data = _tiff(t259=8, t322=side, t323=side, t324=0, t325=len(packed))
    return data.replace(struct.pack("<HHII", 324, 4, 1, 0), struct.pack("<HHII", 324, 4, 1, len(data))) + packed


def _avif_with_wrong_size() -> bytes:
    """A flat grey picture of 8000 x 8000 in 1 KB (Pillow's encoder at speed 10), whose header says 64 x 64."""
    data = (DATA / "64_megapixels.avif").read_bytes()
    return data.replace(pictures.ispe(8000, 8000), pictures.ispe(64, 64))


def _exif_in_circles() -> bytes:
    """Every pointer of the directory points to the directory itself."""
    tags = (0x8769, 0x8825, 0xA005, 0x014A)
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, 8) for tag in tags)
    exif = b"Exif\0\0" + struct.pack("<2sHIH", b"II", 42, 8, len(tags)) + entries + struct.pack("<I", 8)
    return _encoded("JPEG", exif=exif)


def _tiff_in_circles() -> bytes:
    return _tiff()[:-4] + struct.pack("<I", 8 + 4096)


def _png_of_chunks(count: int) -> bytes:
    data = _encoded("PNG")
    return data[:33] + pictures.png_chunk(b"teSt", b"") * count + data[33:]


def _png_of_empty_idats(count: int) -> bytes:
    data = _encoded("PNG")
    return data[:33] + pictures.png_chunk(b"IDAT", b"") * count + data[33:]


def _png_with_profile() -> bytes:
    profile = pictures.png_chunk(b"iCCP", b"x\0\0" + zlib.compress(bytes(UNPACKED), 1))
    data = _encoded("PNG")
    return data[:33] + profile + data[33:]


def _png_with_text() -> bytes:
    text = b"Comment\x00\x00" + zlib.compress(bytes(UNPACKED), 1)
    return pictures.with_png_chunk(_encoded("PNG"), b"zTXt", text)


def _png_of_too_many_pixels_inside() -> bytes:
    packed = zlib.compress(bytes(UNPACKED), 1)
    return pictures.png_header(64, 64, 8, 2) + pictures.png_chunk(b"IDAT", packed) + pictures.png_chunk(b"IEND", b"")


def _gif_of_frames(count: int) -> bytes:
    return b"GIF89a\1\0\1\0\x80\0\0" + bytes(6) + _DOT * count + b";"


def _webp_of_frames(count: int) -> bytes:
    frame = _encoded("WEBP", quality=1)[12:]
    head = (0).to_bytes(6, "little") + bytes([95, 0, 0, 63, 0, 0]) + bytes(4)
    frames = [(b"ANMF", head + frame)] * count
    return pictures.riff((b"VP8X", bytes([2, 0, 0, 0, 95, 0, 0, 63, 0, 0])), (b"ANIM", bytes(6)), *frames)


def _apng_of_frames() -> bytes:
    data = _encoded("PNG")
    return data[:33] + pictures.png_chunk(b"acTL", struct.pack(">II", 2**31 - 1, 0)) + data[33:]


def _jpeg_of_segments(marker: int, count: int, size: int = 2) -> bytes:
    data = _encoded("JPEG")
    return data[:2] + (bytes([0xFF, marker]) + struct.pack(">H", size) + bytes(size - 2)) * count + data[2:]


def _jpeg_of_restarts() -> bytes:
    data = _encoded("JPEG")
    return data[:-2] + b"\xff\xd0\xff\xd1\xff\xd2\xff\xd3" * 500_000 + data[-2:]


def _jpeg_of_12_bits() -> bytes:
    data = _encoded("JPEG")
    at = data.index(b"\xff\xc0")
    return _with(data, at + 4, "B", 12)


def _jpeg_of_scans(count: int) -> bytes:
    return pictures.with_scans(_encoded("JPEG", progressive=True), count)


def _cmyk() -> bytes:
    return pictures.encode(Image.fromarray(_SCENE).convert("CMYK"), "JPEG")


def _strip(width: int, height: int, image_format: str) -> bytes:
    return pictures.encode(np.zeros((height, width), np.uint8), image_format)


_ZIP = b"PK\x05\x06" + bytes(18)
_HTML = b"<html><script>alert(1)</script></html>"

# The expected outcome: the name of the error, or "read"; None means any.
HOSTILE: dict[str, tuple[Callable[[], bytes], str | None]] = {
    "jpeg huge": (lambda: pictures.with_jpeg_size(_encoded("JPEG"), HUGE, HUGE), "ImageTooLargeError"),
    "png huge": (lambda: _png_with_size(HUGE, HUGE), "ImageTooLargeError"),
    "png of 2**31": (lambda: _png_with_size(2**31 - 1, 2**31 - 1), "ImageTooLargeError"),
    "webp huge": (lambda: _webp_with_size(2**24, 2**24), "ImageTooLargeError"),
    "gif huge": (lambda: _with(_encoded("GIF"), 6, "<HH", HUGE, HUGE), "ImageTooLargeError"),
    "bmp huge": (lambda: _with(_encoded("BMP"), 18, "<ii", 2**31 - 1, 2**31 - 1), "ImageTooLargeError"),
    "tiff huge": (lambda: _tiff(t256=2**31, t257=2**31), "ImageTooLargeError"),
    "avif huge": (lambda: _avif_with_size(HUGE, HUGE), "ImageTooLargeError"),
    "jpeg of no width": (lambda: pictures.with_jpeg_size(_encoded("JPEG"), 0, 64), "CorruptImageError"),
    "jpeg of no height": (lambda: pictures.with_jpeg_size(_encoded("JPEG"), 96, 0), "CorruptImageError"),
    "png of no width": (lambda: _png_with_size(0, 64), "CorruptImageError"),
    "gif of no height": (lambda: _gif_of_frames(1).replace(b"\1\0\1\0\0\2", b"\1\0\0\0\0\2"), "CorruptImageError"),
    "bmp of no width": (lambda: _with(_encoded("BMP"), 18, "<i", 0), "CorruptImageError"),
    "tiff of no width": (lambda: _tiff(t256=0), "CorruptImageError"),
    "avif of no width": (lambda: _avif_with_size(0, 64), "CorruptImageError"),
    "jpeg 1 x 65500": (lambda: _strip(1, HUGE, "JPEG"), "read"),
    "png 65535 x 1": (lambda: _strip(65_535, 1, "PNG"), "read"),
    "webp 1 x 16383": (lambda: _strip(1, 16_383, "WEBP"), "read"),
    "avif with a wrong size": (_avif_with_wrong_size, "CorruptImageError"),
    "png with more inside": (_png_of_too_many_pixels_inside, None),
    "tiff of huge tiles": (lambda: _tiff(t322=HUGE, t323=HUGE, t324=8, t325=4096), "CorruptImageError"),
    "tiff of a tile bomb": (_tiff_of_a_tile_bomb, "CorruptImageError"),
    "tiff of huge strips": (lambda: _tiff(t278=2**31), None),
    "tiff of many samples": (lambda: _tiff(t277=65_535), None),
    "tiff of a bomb": (lambda: _tiff(t259=8), None),
    "tiff in circles": (_tiff_in_circles, "read"),
    "exif in circles": (_exif_in_circles, "read"),
    "png of 200,000 chunks": (lambda: _png_of_chunks(200_000), "CorruptImageError"),
    "png of 90,000 chunks": (lambda: _png_of_chunks(90_000), "read"),
    "png of 50,000 empty IDATs": (lambda: _png_of_empty_idats(50_000), None),
    "png with a profile bomb": (_png_with_profile, "read"),
    "png with a text bomb": (_png_with_text, "read"),
    "gif of a million frames": (lambda: _gif_of_frames(1_000_000), "read"),
    "webp of 10,000 frames": (lambda: _webp_of_frames(10_000), None),
    "apng of 2**31 frames": (_apng_of_frames, "read"),
    "jpeg of 20,000 comments": (lambda: _jpeg_of_segments(0xFE, 20_000), "CorruptImageError"),
    "jpeg of large profiles": (lambda: _jpeg_of_segments(0xE2, 250, 65_535), "read"),
    "jpeg of restarts": (_jpeg_of_restarts, None),
    "jpeg of 2,000 scans": (lambda: _jpeg_of_scans(2000), "CorruptImageError"),
    "jpeg of 12 bits": (_jpeg_of_12_bits, "UnsupportedFormatError"),
    "cmyk huge": (lambda: pictures.with_jpeg_size(_cmyk(), HUGE, HUGE), "ImageTooLargeError"),
    "png and zip": (lambda: _encoded("PNG") + _ZIP, "read"),
    "gif and jar": (lambda: _encoded("GIF") + _ZIP, "read"),
    "jpeg and html": (lambda: _encoded("JPEG", comment=_HTML), "read"),
    "html and jpeg": (lambda: _HTML + _encoded("JPEG"), "CorruptImageError"),
    "pdf and jpeg": (lambda: b"%PDF-1.7\n" + _encoded("JPEG"), "UnsupportedFormatError"),
}


def cut(image_format: str) -> Iterator[bytes]:
    """Truncated at every twentieth of its length."""
    data = _encoded(image_format)
    return (data[: len(data) * part // 20] for part in range(20))
