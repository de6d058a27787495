"""The format of a picture, detected from its content; file names and media types are ignored."""

import re
from collections.abc import Callable

_BMP_HEADER_SIZES = frozenset({12, 16, 40, 52, 56, 64, 108, 124})  # bytes; one for each version of the format
SVG_HEAD_BYTES = 65_536  # searched for the <svg> element, after prolog and comments

_AVIF_BRANDS = frozenset({b"avif", b"avis"})
_HEIC_BRANDS = frozenset({b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs", b"mif1", b"msf1"})
_BRAND_NAMES = {b"crx ": "Canon CR3", b"jxl ": "JPEG XL", b"jp2 ": "JPEG 2000", b"qt  ": "QuickTime video"}

_SIGNATURES: tuple[tuple[bytes, str], ...] = (
    (b"\xff\xd8\xff", "JPEG"),
    (b"\x89PNG\r\n\x1a\n", "PNG"),
    (b"GIF87a", "GIF"),
    (b"GIF89a", "GIF"),
    (b"II*\x00", "TIFF"),
    (b"MM\x00*", "TIFF"),
    (b"II+\x00", "TIFF"),
    (b"MM\x00+", "TIFF"),
    (b"\xff\x0a", "JPEG XL"),
    (b"\x00\x00\x00\x0cJXL \r\n\x87\n", "JPEG XL"),
    (b"\x00\x00\x00\x0cjP  \r\n\x87\n", "JPEG 2000"),
    (b"\xff\x4f\xff\x51", "JPEG 2000"),
    (b"II\xbc", "JPEG XR"),
    (b"%PDF-", "PDF"),
    (b"%!PS", "EPS"),
    (b"\xc5\xd0\xd3\xc6", "EPS"),
    (b"8BPS", "PSD"),
    (b"DDS ", "DDS"),
    (b"\x76\x2f\x31\x01", "OpenEXR"),
    (b"qoif", "QOI"),
    (b"#?RADIANCE", "Radiance HDR"),
    (b"#?RGBE", "Radiance HDR"),
    (b"SIMPLE  =", "FITS"),
    (b"\x1a\x45\xdf\xa3", "Matroska or WebM video"),
)
_PNM = re.compile(rb"P[1-7fF][ \t\r\n#]")
# The first element or doctype, after XML declaration, comments and other declarations; atomic, so that it is linear.
_SVG = re.compile(
    r"\s*(?>(?:<!--.*?-->|<\?.*?\?>|<!(?!--|DOCTYPE\s+svg)[^>]*>)\s*)*+(?:<!DOCTYPE\s+svg|<(?:[\w.-]+:)?svg[\s/>])",
    re.IGNORECASE | re.DOTALL,
)


def sniff(data: bytes) -> str | None:
    """Returns the usual name of the format, supported or not; None if it is unknown."""
    for signature, name in _SIGNATURES:
        if data.startswith(signature):
            return name
    if data.startswith(b"RIFF"):
        return _sniff_riff(data)
    if data[4:8] == b"ftyp":
        return _sniff_brands(data)
    return next((name for name, matches in _TESTS.items() if matches(data)), None)


def _sniff_riff(data: bytes) -> str | None:
    if data[8:16] in (b"WEBPVP8 ", b"WEBPVP8L", b"WEBPVP8X"):
        return "WebP"
    return "AVI video" if data[8:12] == b"AVI " else None


def _sniff_brands(data: bytes) -> str:
    size = min(int.from_bytes(data[:4], "big"), 1024)
    major = data[8:12]
    brands = {data[i : i + 4] for i in range(16, size, 4)} | {major}
    if brands & _AVIF_BRANDS and not major.startswith(b"he"):
        return "AVIF"
    if brands & _HEIC_BRANDS:
        return "HEIC"
    return _BRAND_NAMES.get(major, "MP4 video")


def _is_bmp(data: bytes) -> bool:
    return data.startswith(b"BM") and int.from_bytes(data[14:18], "little") in _BMP_HEADER_SIZES


def _is_icon(data: bytes) -> bool:
    return data.startswith((b"\0\0\1\0", b"\0\0\2\0")) and 0 < int.from_bytes(data[4:6], "little") < 256


def _is_svg(data: bytes) -> bool:
    head = data[:SVG_HEAD_BYTES]
    encoding = "utf-16" if head.startswith((b"\xff\xfe", b"\xfe\xff")) else "utf-8-sig"
    return _SVG.match(head.decode(encoding, "ignore")) is not None


_TESTS: dict[str, Callable[[bytes], object]] = {
    "BMP": _is_bmp,
    "ICO": _is_icon,
    "PNM": _PNM.match,
    "DICOM": lambda data: data[128:132] == b"DICM",
    "TGA": lambda data: data.endswith(b"TRUEVISION-XFILE.\x00"),
    "SVG": _is_svg,
}
