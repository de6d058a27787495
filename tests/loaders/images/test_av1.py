"""The frame size in AVIF files, and bounds on the cost of reading it."""

import contextlib
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from loaders.images.errors import CorruptImageError, ImageError
from loaders.images.headers import read_header
from loaders.images.headers.av1 import largest_frame
from loaders.images.headers.coded_streams import coded_items, first_samples
from tests import odd_pictures, pictures
from tests.function_calls import function_calls


@pytest.mark.parametrize("size", [(1, 1), (96, 64), (1025, 3)])
@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L"])
def test_frame_size_equals_picture_size(size: tuple[int, int], mode: str) -> None:
    frames = [Image.new(mode, size, number) for number in range(3)]
    still, animated = (
        pictures.encode(frames[0], "AVIF"),
        pictures.encode(frames[0], "AVIF", save_all=True, append_images=frames[1:]),
    )
    assert {largest_frame(stream) for stream in coded_items(still)} == {size}
    assert not list(first_samples(still))
    assert {largest_frame(stream) for stream in first_samples(animated)} == {size}  # with the long form of header


def test_sequence_with_wrong_size_is_rejected() -> None:
    frames = [Image.new("L", (1200, 1000), number) for number in range(2)]
    data = pictures.encode(frames[0], "AVIF", speed=10, save_all=True, append_images=frames[1:])
    forged = data.replace(pictures.ispe(1200, 1000), pictures.ispe(64, 64))
    forged = forged.replace(struct.pack(">II", 1200 << 16, 1000 << 16), struct.pack(">II", 64 << 16, 64 << 16))
    forged = forged.replace(struct.pack(">HH", 1200, 1000), struct.pack(">HH", 64, 64))
    with pytest.raises(CorruptImageError, match="another size"):
        read_header(forged)


def iloc(items: int, extents: int, size: int) -> bytes:
    one = struct.pack(">HHH", 1, 0, extents) + struct.pack(">II", 0, size) * extents
    return pictures.box(b"iloc", bytes(4), b"\x44\0", struct.pack(">H", items), one * items)


@pytest.mark.parametrize(("items", "extents", "size"), [(1000, 1, 0), (1, 1000, 2**20), (65_535, 0, 0), (1, 65_535, 1)])
def test_overlapping_items_are_rejected_quickly(items: int, extents: int, size: int) -> None:
    container = pictures.box(b"meta", bytes(4), iloc(items, extents, size)) + bytes(2**22)
    with function_calls() as calls, pytest.raises(CorruptImageError):
        list(coded_items(container))
    assert calls.count < 500_000


def test_stream_of_too_many_units_is_rejected() -> None:
    with pytest.raises(CorruptImageError, match="more than 256 units"):
        largest_frame(b"\x12\0" * 1_000_000)


@given(st.data())
def test_damaged_avif_raises_image_error_alone(data: st.DataObject) -> None:
    picture = bytearray(odd_pictures.read("exif_orientation/rot0mir0.avif")[:2000])
    for _ in range(data.draw(st.integers(1, 4))):
        picture[data.draw(st.integers(12, 1999))] = data.draw(st.integers(0, 255))
    with contextlib.suppress(ImageError):
        read_header(bytes(picture))
