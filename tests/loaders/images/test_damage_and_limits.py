"""Damaged, cut and oversized pictures: what the loaders refuse, and that refusing costs nothing."""

import subprocess
import sys
import time
import zlib

import numpy as np
import pytest
from PIL import Image

from loaders.image_loader import create_image_loader
from loaders.images.base import ImageLoader, ImageLoaderOptions, Size
from loaders.images.errors import CorruptImageError, EmptyImageError, ImageTooLargeError, TruncatedImageError
from tests import odd_pictures, pictures
from tests.decoding import decode
from tests.paths import ROOT
from tests.pictures import Pixels

# --- damage


def cut_everywhere(data: bytes) -> list[bytes]:
    return [data[: len(data) * tenths // 10] for tenths in range(3, 10)] + [data[:-1]]


@pytest.mark.parametrize("options", [{}, {"progressive": True}], ids=["baseline", "progressive"])
def test_a_cut_jpeg_is_truncated(loader: ImageLoader, options: dict[str, bool]) -> None:
    for data in cut_everywhere(pictures.encode(pictures.scene(), "JPEG", **options)):
        with pytest.raises(TruncatedImageError):
            loader.load(data)


@pytest.mark.parametrize("image_format", ["PNG", "WEBP", "TIFF", "BMP"])
def test_a_cut_picture_is_truncated(loader: ImageLoader, image_format: str) -> None:
    for data in cut_everywhere(pictures.encode(pictures.scene(), image_format)):
        with pytest.raises(TruncatedImageError):
            loader.load(data)


@pytest.mark.parametrize("image_format", ["GIF", "AVIF"])
def test_a_cut_picture_is_corrupt_at_least(loader: ImageLoader, image_format: str) -> None:
    for data in cut_everywhere(pictures.encode(pictures.scene(), image_format))[:-1]:
        with pytest.raises(CorruptImageError):
            loader.load(data)


def test_bytes_after_the_picture_do_no_harm(loader: ImageLoader) -> None:
    scene = pictures.scene()
    for image_format in ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF"):
        data = pictures.encode(scene, image_format)
        assert np.array_equal(decode(loader, data + b"\xff\xda trailer" * 200), decode(loader, data))


def test_a_jpeg_cut_in_its_last_rows_may_be_accepted(name: str) -> None:
    lenient = create_image_loader(name, ImageLoaderOptions(accept_truncated=True))
    scene = pictures.scene(320, 320)
    whole = pictures.encode(scene, "JPEG", quality=95)
    pixels = decode(lenient, whole[: int(len(whole) * 0.91)])
    assert np.array_equal(pixels[:280], decode(lenient, whole)[:280])
    assert (pixels[-1] == 128).all()
    for share in (0.3, 0.6, 0.85):
        with pytest.raises(TruncatedImageError):
            lenient.load(whole[: int(len(whole) * share)])


def test_both_loaders_accept_the_same_cut_jpegs() -> None:
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
        assert shown[0] is None or np.array_equal(shown[0], shown[1])  # type: ignore[arg-type]  # both, or none
        outcomes.append(shown[0] is None)
    assert set(outcomes) == {True, False}


def test_only_jpeg_may_be_truncated(name: str) -> None:
    lenient = create_image_loader(name, ImageLoaderOptions(accept_truncated=True))
    scene = Image.fromarray(pictures.scene())
    cuts = [pictures.encode(scene, "PNG")[:-20], pictures.encode(scene.convert("CMYK"), "JPEG")[:-20]]
    for data in cuts:
        with pytest.raises(TruncatedImageError):
            lenient.load(data)


def test_damage_in_a_png_is_found(loader: ImageLoader) -> None:
    data = bytearray(pictures.encode(pictures.scene(), "PNG"))
    data[data.index(b"IDAT") + 200] ^= 0xFF
    with pytest.raises(CorruptImageError, match="damaged"):
        loader.load(bytes(data))


def test_a_wrong_checksum_in_a_png_is_damage(loader: ImageLoader) -> None:
    data = bytearray(pictures.encode(pictures.scene(), "PNG"))
    data[-13] ^= 0xFF  # the checksum of the pixels, just before IEND
    with pytest.raises(CorruptImageError, match="damaged"):
        loader.load(bytes(data))


def test_damaged_metadata_do_not_cost_a_tiff_its_picture(loader: ImageLoader) -> None:
    scene = pictures.scene()
    data = bytearray(pictures.encode(scene, "TIFF", description="x" * 100))
    pictures.set_tiff_entry(data, 270, count=2**31)
    assert np.array_equal(decode(loader, bytes(data)), scene)


def test_no_bytes_are_an_empty_picture(loader: ImageLoader) -> None:
    with pytest.raises(EmptyImageError):
        loader.load(b"")


# --- limits

BOMB_TEST = """
import resource, sys
from loaders.images.errors import ImageTooLargeError
from loaders.image_loader import create_image_loader
from tests.pictures import png_bomb
bomb, loader = png_bomb(50_000, 50_000), create_image_loader(sys.argv[1])
loader.load(png_bomb(8, 8))
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
try:
    loader.load(bomb)
except ImageTooLargeError as error:
    print(len(bomb), error.width, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


def test_a_bomb_is_refused_without_moving_memory(name: str) -> None:
    command = [sys.executable, "-c", BOMB_TEST, name]
    folder = ROOT
    result = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True)
    size, width, grown_kb = map(int, result.stdout.split())
    assert (size < 500_000, width) == (True, 50_000)
    assert grown_kb < 1024


@pytest.mark.parametrize("image_format", ["JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF"])
def test_max_pixels_is_the_largest_that_is_read(name: str, image_format: str) -> None:
    data = pictures.encode(pictures.scene(), image_format)
    assert create_image_loader(name, ImageLoaderOptions(max_pixels=96 * 64)).load(data).info.width == 96
    with pytest.raises(ImageTooLargeError) as caught:
        create_image_loader(name, ImageLoaderOptions(max_pixels=96 * 64 - 1)).load(data)
    assert (caught.value.width, caught.value.height, caught.value.max_pixels) == (96, 64, 96 * 64 - 1)


def test_pillows_own_limit_does_not_interfere(loader: ImageLoader) -> None:
    # Pillow warns above 89 million pixels; for GIF, where a frame reaches beyond the screen
    data = bytearray(pictures.encode(np.zeros((9500, 9500), np.uint8), "GIF"))
    data[6:10] = b"\x01\x00\x01\x00"
    assert loader.load(bytes(data)).info.size == Size(9500, 9500)


def test_a_header_that_lies_about_the_size_is_corrupt(loader: ImageLoader) -> None:
    scene = pictures.scene()
    lies = [
        pictures.encode(scene, "WEBP", xmp=b"x").replace(b"\x5f\0\0\x3f\0\0", b"\x7f\0\0\x7f\0\0", 1),
        odd_pictures.read("heif/zPug_3.heic").replace(pictures.ispe(64, 64), pictures.ispe(640, 640)),
    ]
    for data in lies:
        assert loader.probe(data).size not in {Size(96, 64), Size(64, 64)}
        with pytest.raises(CorruptImageError):
            loader.load(data)


def test_a_jpeg_of_a_hundred_scans_is_refused(loader: ImageLoader) -> None:
    jpeg = pictures.encode(pictures.scene(), "JPEG", progressive=True)
    assert loader.load(pictures.with_scans(jpeg, 20)).info.width == 96
    start = time.perf_counter()
    with pytest.raises(CorruptImageError, match="scans"):
        loader.load(pictures.with_scans(jpeg, 2000))
    assert time.perf_counter() - start < 0.2


def test_text_in_a_png_is_never_unpacked(loader: ImageLoader) -> None:
    payload = b"Comment\x00\x00" + zlib.compress(bytes(300_000_000), 1)
    scene = pictures.scene()
    start = time.perf_counter()
    assert np.array_equal(
        decode(loader, pictures.with_png_chunk(pictures.encode(scene, "PNG"), b"zTXt", payload)), scene
    )
    assert time.perf_counter() - start < 0.5
