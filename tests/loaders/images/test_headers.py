"""Header parsers: format, size and orientation of valid files; damaged and hostile ones are rejected quickly."""

import struct
from contextlib import suppress

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from loaders.image_loader import create_image_loader
from loaders.images.base import ImageLoaderOptions
from loaders.images.errors import (
    CorruptImageError,
    EmptyImageError,
    ImageError,
    TruncatedImageError,
    UnsupportedFormatError,
)
from loaders.images.formats import FORMATS
from loaders.images.headers import Header, read_header
from tests import odd_pictures, pictures
from tests.function_calls import function_calls

MAX_CALLS = 500_000  # the most of a bounded loop is 300,000; one over all parts of such data makes millions
EXIF_6 = b"Exif\x00\x00MM\x00*\x00\x00\x00\x08\x00\x01\x01\x12\x00\x03\x00\x00\x00\x01\x00\x06\x00\x00\x00\x00\x00\x00"
XMP = b'<x:xmpmeta><rdf:Description tiff:Orientation="%d"/></x:xmpmeta>'


def probe_quickly(data: bytes) -> Header | ImageError:
    """Fails on anything but a header or an ImageError."""
    with function_calls() as calls:
        try:
            found: Header | ImageError = read_header(data)
        except ImageError as error:
            found = error
    assert calls.count < MAX_CALLS
    return found


@pytest.mark.parametrize(("name", "expected"), odd_pictures.READABLE.items())
def test_header_has_format_and_upright_size(name: str, expected: tuple[str, int, int]) -> None:
    info = read_header(odd_pictures.read(name)).info
    assert (info.format, info.width, info.height) == expected


@pytest.mark.parametrize(("image_format", "name"), [("JPEG", "JPEG"), ("PNG", "PNG"), ("WEBP", "WebP")])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_found(image_format: str, name: str, orientation: int) -> None:
    header = read_header(pictures.rotated_twin(pictures.scene(), image_format, orientation))
    assert (header.format, header.orientation) == (name, orientation)
    assert (header.info.width, header.info.height) == (96, 64)


@pytest.mark.parametrize("orientation", [0, 9, 65535])
def test_invalid_orientation_is_1(orientation: int) -> None:
    exif = Image.Exif()
    exif[274] = orientation
    assert read_header(pictures.encode(pictures.scene(), "JPEG", exif=exif)).orientation == 1


def test_png_exif_after_the_pixels_counts() -> None:
    data = pictures.with_png_chunk(pictures.encode(pictures.scene(), "PNG"), b"eXIf", EXIF_6[6:])
    assert data.index(b"IDAT") < data.index(b"eXIf")
    assert read_header(data).info.width == 64


def test_xmp_orientation_counts_in_png() -> None:
    payload = b"XML:com.adobe.xmp\x00" + bytes(4) + XMP % 6
    data = pictures.with_png_chunk(pictures.encode(pictures.scene(), "PNG"), b"iTXt", payload)
    assert read_header(data).orientation == 6


def test_xmp_orientation_counts_only_where_exif_has_none() -> None:
    scene, exif = Image.fromarray(pictures.scene()), Image.Exif()
    assert read_header(pictures.encode(scene, "JPEG", xmp=XMP % 3)).orientation == 3
    assert read_header(pictures.encode(scene, "WEBP", xmp=XMP % 3)).orientation == 3
    exif[274] = 6
    assert read_header(pictures.encode(scene, "JPEG", xmp=XMP % 3, exif=exif)).orientation == 6


@pytest.mark.parametrize(
    ("turns", "mirror", "orientation"),
    [(0, None, 1), (1, None, 8), (2, None, 3), (3, None, 6), (0, 0, 4), (0, 1, 2), (1, 0, 5), (3, 0, 7)],
)
def test_irot_and_imir_of_an_avif_give_the_orientation(turns: int, mirror: int | None, orientation: int) -> None:
    turned = [pictures.box(b"irot", bytes([turns]))] if turns else []
    mirrored = [pictures.box(b"imir", bytes([mirror]))] if mirror is not None else []
    header = read_header(pictures.heif_header(b"avif", pictures.ispe(30, 20), *turned, *mirrored))
    assert (header.format, header.width, header.height, header.orientation) == ("AVIF", 30, 20, orientation)


def test_header_has_alpha_and_depth() -> None:
    assert read_header(pictures.encode(Image.fromarray(pictures.scene()).convert("RGBA"), "PNG")).has_alpha
    assert read_header(odd_pictures.read("depth_alpha/i_trns.png")).bit_depth == 16


@pytest.mark.parametrize(("name", "data"), pictures.UNSUPPORTED.items())
def test_unsupported_format_is_named(name: str, data: bytes) -> None:
    with pytest.raises(UnsupportedFormatError, match=f"^{name} pictures are not supported. Supported: JPEG, PNG"):
        read_header(data)


@pytest.mark.parametrize(
    "data",
    [
        '\ufeff<?xml version="1.0" encoding="utf-16"?><svg/>'.encode("utf-16-le"),
        b"<!-- " + b"x" * 30_000 + b" --><svg width='1'>",
        b'<!DOCTYPE svg PUBLIC "-//W3C//DTD SVG 1.1//EN"><svg>',
        b"<svg:svg xmlns:svg='http://www.w3.org/2000/svg'>",
        b"\n\t <svg\n",
    ],
)
def test_svg_is_detected_after_any_prolog(data: bytes) -> None:
    with pytest.raises(UnsupportedFormatError, match=r"^SVG"):
        read_header(data)


@pytest.mark.parametrize(
    "data", [b"x", b"hello, world", b"<html><svg/></html>", b"BMW owners' club", bytes(1000), b"RIFF" + bytes(20)]
)
def test_unknown_bytes_are_corrupt(data: bytes) -> None:
    with pytest.raises(CorruptImageError, match="not a picture in a known format"):
        read_header(data)


def test_no_bytes_raise_empty_image_error() -> None:
    with pytest.raises(EmptyImageError):
        read_header(b"")


def test_heic_error_names_the_package_to_install() -> None:
    without = tuple(name for name in FORMATS if name != "HEIC")
    with pytest.raises(UnsupportedFormatError, match=r"install pillow-heif \(requirements/heif.txt\)") as caught:
        read_header(odd_pictures.read("heif/L_8__29x100.heif"), without)
    assert caught.value.supported == without


@pytest.mark.parametrize("size", [(0, 5), (5, 0)])
def test_zero_width_or_height_is_corrupt(size: tuple[int, int]) -> None:
    jpeg = pictures.with_jpeg_size(pictures.encode(pictures.scene(), "JPEG"), *size)
    for data in (jpeg, pictures.png_header(*size, 8, 2), pictures.heif_header(b"avif", pictures.ispe(*size))):
        with pytest.raises(CorruptImageError, match="has no pixels"):
            read_header(data)


def test_unsupported_jpeg_kinds_are_named() -> None:
    jpeg = pictures.encode(pictures.scene(), "JPEG")
    start = jpeg.index(b"\xff\xc0")
    with pytest.raises(UnsupportedFormatError, match="12-bit JPEG"):
        read_header(jpeg[: start + 4] + b"\x0c" + jpeg[start + 5 :])
    with pytest.raises(UnsupportedFormatError, match="Lossless"):
        read_header(jpeg.replace(b"\xff\xc0", b"\xff\xc3", 1))


def _exif_that_points_at_itself() -> bytes:
    return (
        b"Exif\x00\x00II*\x00\x08\x00\x00\x00\x01\x00\x69\x87\x04\x00\x01\x00\x00\x00\x08\x00\x00\x00\x08\x00\x00\x00"
    )


HOSTILE = {
    "millions of PNG chunks": (pictures.png_header(1, 1, 8, 0) + pictures.png_chunk(b"IDAT", b"") * 1_500_000),
    "endless JPEG segments": b"\xff\xd8" + b"\xff\xe5\x00\x02" * 1_000_000,
    "endless JPEG fill bytes": b"\xff\xd8" + b"\xff" * 5_000_000,
    "endless WebP chunks": pictures.riff((b"VP8X", b"\x08" + bytes(9)), *[(b"junk", b"")] * 150_000),
    "endless GIF comments": b"GIF89a\x01\x00\x01\x00\x00\x00\x00" + b"!\xfe\x00" * 500_000,
    "endless GIF sub-blocks": b"GIF89a\x01\x00\x01\x00\x00\x00\x00!\xfe" + b"\x01x" * 1_500_000,
    "endless boxes": pictures.box(b"ftyp", b"avif", bytes(4)) + pictures.box(b"free") * 500_000,
    "endless brands": pictures.box(b"ftyp", b"avif" * 1_000_000),
    "an item list with a wrong count": pictures.heif_header(b"avif", b"").replace(
        struct.pack(">IIHB", 0, 1, 1, 1), struct.pack(">IIHB", 0, 2**32 - 1, 2, 255)
    ),
    "a box without contents": pictures.box(b"ftyp", b"avif", bytes(4)) + b"\x00\x00\x00\x01meta" + bytes(8),
    "a TIFF directory beyond the end": b"II+\x00\x08\x00\x00\x00" + b"\xff" * 8,
    "endless TIFF tags": b"II*\x00\x08\x00\x00\x00\xff\xff" + bytes(12 * 65535),
    "endless SVG prolog": b"<?x?>" * 100_000,
    "an endless SVG comment": b"<!--" * 500_000,
}


@pytest.mark.parametrize("data", HOSTILE.values(), ids=list(HOSTILE))
def test_hostile_headers_are_corrupt(data: bytes) -> None:
    assert isinstance(probe_quickly(data), CorruptImageError)


@pytest.mark.parametrize(
    ("case", "message"),
    [
        ("millions of PNG chunks", "more than 100,000 chunks"),
        ("endless JPEG segments", "more than 10,000 segments"),
        ("endless WebP chunks", "more than 100,000 chunks"),
        ("endless GIF comments", "more than 100,000 blocks"),
        ("endless boxes", "more than 10,000 boxes"),
    ],
)
def test_loops_over_parts_are_bounded(case: str, message: str) -> None:
    with pytest.raises(CorruptImageError, match=message):
        read_header(HOSTILE[case])


def test_exif_cycle_is_read_once() -> None:
    jpeg = pictures.encode(pictures.scene(), "JPEG", exif=_exif_that_points_at_itself())
    assert read_header(jpeg).orientation == 1


def test_truncated_header_is_rejected(samples: dict[str, bytes]) -> None:
    for name in ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF"):
        with pytest.raises(CorruptImageError):
            read_header(samples[name][:20])
    with pytest.raises(TruncatedImageError):
        read_header(samples["JPEG"][:20])


@given(st.binary(max_size=2000))
def test_any_bytes_give_a_header_or_image_error(data: bytes) -> None:
    probe_quickly(data)


SIGNATURES = st.sampled_from([
    b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"RIFF\x00\x00\x00\x00WEBPVP8X", b"GIF89a", b"BM", b"II*\x00", b"MM\x00+",
    b"\x00\x00\x00\x14ftypavif", b"\x00\x00\x00\x14ftypheic", b"<svg", b"<!--",
])  # fmt: skip


@given(SIGNATURES, st.binary(max_size=500))
def test_any_bytes_after_a_signature_give_a_header_or_image_error(signature: bytes, rest: bytes) -> None:
    probe_quickly(signature + rest)


@st.composite
def edits(draw: st.DrawFn) -> list[tuple[float, int]]:
    return draw(st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), min_size=1, max_size=6))


@given(st.sampled_from(["opencv", "pillow"]), st.integers(0, 50), edits(), st.floats(0, 1))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_damaged_file_gives_a_picture_or_image_error(
    limits: ImageLoaderOptions,
    samples: dict[str, bytes],
    loader: str,
    which: int,
    changes: list[tuple[float, int]],
    cut: float,
) -> None:
    data = bytearray(list(samples.values())[which % len(samples)])
    for where, value in changes:
        data[int(where**2 * len(data))] = value  # headers are at the front: damage them more often
    damaged = bytes(data[: int(len(data) * cut * 2)])
    probe_quickly(damaged)
    with suppress(ImageError):
        create_image_loader(loader, limits).load(damaged)
