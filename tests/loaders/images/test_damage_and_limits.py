"""Damaged, truncated and oversized pictures are rejected, at little cost."""

import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from loaders.image_loader import create_image_loader
from loaders.images.base import ImageLoader, ImageLoaderOptions, Size
from loaders.images.errors import CorruptImageError, EmptyImageError, ImageTooLargeError, TruncatedImageError
from loaders.images.headers import read_header
from tests import odd_pictures, pictures
from tests.decoding import decode
from tests.paths import ROOT
from tests.pictures import Pixels

# --- damage


def cut_everywhere(data: bytes) -> list[bytes]:
    return [data[: len(data) * tenths // 10] for tenths in range(3, 10)] + [data[:-1]]


@pytest.mark.parametrize("options", [{}, {"progressive": True}], ids=["baseline", "progressive"])
def test_cut_jpeg_raises_truncated_image_error(loader: ImageLoader, options: dict[str, bool]) -> None:
    for data in cut_everywhere(pictures.encode(pictures.scene(), "JPEG", **options)):
        with pytest.raises(TruncatedImageError):
            loader.load(data)


@pytest.mark.parametrize("image_format", ["PNG", "WEBP", "TIFF", "BMP"])
def test_cut_picture_raises_truncated_image_error(loader: ImageLoader, image_format: str) -> None:
    for data in cut_everywhere(pictures.encode(pictures.scene(), image_format)):
        with pytest.raises(TruncatedImageError):
            loader.load(data)


@pytest.mark.parametrize("image_format", ["GIF", "AVIF"])
def test_cut_picture_raises_corrupt_image_error(loader: ImageLoader, image_format: str) -> None:
    for data in cut_everywhere(pictures.encode(pictures.scene(), image_format))[:-1]:
        with pytest.raises(CorruptImageError):
            loader.load(data)


def test_trailing_bytes_are_ignored(loader: ImageLoader) -> None:
    scene = pictures.scene()
    for image_format in ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF"):
        data = pictures.encode(scene, image_format)
        assert np.array_equal(decode(loader, data + b"\xff\xda trailer" * 200), decode(loader, data))


def test_accept_truncated_reads_jpeg_cut_in_its_last_rows(name: str) -> None:
    lenient = create_image_loader(name, ImageLoaderOptions(accept_truncated=True))
    scene = pictures.scene(320, 320)
    whole = pictures.encode(scene, "JPEG", quality=95)
    pixels = decode(lenient, whole[: int(len(whole) * 0.91)])
    assert np.array_equal(pixels[:280], decode(lenient, whole)[:280])
    assert (pixels[-1] == 128).all()
    for share in (0.3, 0.6, 0.85):
        with pytest.raises(TruncatedImageError):
            lenient.load(whole[: int(len(whole) * share)])


def test_loaders_accept_the_same_cut_jpegs() -> None:
    loaders = [create_image_loader(name, ImageLoaderOptions(accept_truncated=True)) for name in ("opencv", "pillow")]
    whole = pictures.encode(pictures.scene(160, 160), "JPEG", quality=90)
    outcomes = []
    for length in range(len(whole) // 2, len(whole), 37):
        shown: list[Pixels | None] = []
        for one in loaders:
            try:
                shown.append(one.load(whole[:length]).pixels)
            except TruncatedImageError:
                shown.append(None)
        assert (shown[0] is None) == (shown[1] is None)
        assert shown[0] is None or np.array_equal(shown[0], shown[1])  # type: ignore[arg-type]  # both or neither
        outcomes.append(shown[0] is None)
    assert set(outcomes) == {True, False}


def test_accept_truncated_is_for_jpeg_alone(name: str) -> None:
    lenient = create_image_loader(name, ImageLoaderOptions(accept_truncated=True))
    scene = Image.fromarray(pictures.scene())
    cuts = [pictures.encode(scene, "PNG")[:-20], pictures.encode(scene.convert("CMYK"), "JPEG")[:-20]]
    for data in cuts:
        with pytest.raises(TruncatedImageError):
            lenient.load(data)


def test_damaged_png_is_corrupt(loader: ImageLoader) -> None:
    data = bytearray(pictures.encode(pictures.scene(), "PNG"))
    data[data.index(b"IDAT") + 200] ^= 0xFF
    with pytest.raises(CorruptImageError, match="damaged"):
        loader.load(bytes(data))


def test_png_with_wrong_checksum_is_corrupt(loader: ImageLoader) -> None:
    data = bytearray(pictures.encode(pictures.scene(), "PNG"))
    data[-13] ^= 0xFF  # the checksum of the pixels, just before IEND
    with pytest.raises(CorruptImageError, match="damaged"):
        loader.load(bytes(data))


def test_tiff_with_damaged_metadata_is_read(loader: ImageLoader) -> None:
    scene = pictures.scene()
    data = bytearray(pictures.encode(scene, "TIFF", description="x" * 100))
    pictures.set_tiff_entry(data, 270, count=2**31)
    assert np.array_equal(decode(loader, bytes(data)), scene)


def test_no_bytes_raise_empty_image_error(loader: ImageLoader) -> None:
    with pytest.raises(EmptyImageError):
        loader.load(b"")


# --- limits

BOMB_TEST = """
import resource, sys
from loaders.images.errors import ImageTooLargeError
from loaders.image_loader import create_image_loader
from tests.pictures import png_bomb
bomb, loader = png_bomb(20_000, 20_000), create_image_loader(sys.argv[1])
loader.load(png_bomb(8, 8))
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
try:
    loader.load(bomb)
except ImageTooLargeError as error:
    print(len(bomb), error.width, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


def test_decompression_bomb_is_rejected_without_using_memory(name: str) -> None:
    command = [sys.executable, "-c", BOMB_TEST, name]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    size, width, grown_kb = map(int, result.stdout.split())
    assert (size < 100_000, width) == (True, 20_000)
    assert grown_kb < 1024


@pytest.mark.parametrize("image_format", ["JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF"])
def test_max_pixels_is_inclusive(name: str, image_format: str) -> None:
    data = pictures.encode(pictures.scene(), image_format)
    assert create_image_loader(name, ImageLoaderOptions(max_pixels=96 * 64)).load(data).info.width == 96
    with pytest.raises(ImageTooLargeError) as caught:
        create_image_loader(name, ImageLoaderOptions(max_pixels=96 * 64 - 1)).load(data)
    assert (caught.value.width, caught.value.height, caught.value.max_pixels) == (96, 64, 96 * 64 - 1)


def test_pillow_has_no_pixel_limit_of_its_own() -> None:
    create_image_loader("pillow")
    assert Image.MAX_IMAGE_PIXELS is None


def test_wrong_size_in_header_is_corrupt(loader: ImageLoader) -> None:
    scene = pictures.scene()
    files = [
        pictures.encode(scene, "WEBP", xmp=b"x").replace(b"\x5f\0\0\x3f\0\0", b"\x7f\0\0\x7f\0\0", 1),
        odd_pictures.read("heif/zPug_3.heic").replace(pictures.ispe(64, 64), pictures.ispe(640, 640)),
    ]
    for data in files:
        assert read_header(data).info.size not in {Size(96, 64), Size(64, 64)}
        with pytest.raises(CorruptImageError):
            loader.load(data)


def test_jpeg_with_too_many_scans_is_rejected(loader: ImageLoader) -> None:
    jpeg = pictures.encode(pictures.scene(), "JPEG", progressive=True)
    assert loader.load(pictures.with_scans(jpeg, 20)).info.width == 96
    with pytest.raises(CorruptImageError, match="scans"):
        loader.load(pictures.with_scans(jpeg, 2000))
