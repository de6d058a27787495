"""Padding, transparency and tensors whose size depends on the picture."""

import numpy as np
import pytest

from engine.preprocessing.preprocessor import Preprocessor
from loaders.images.base import ImageInfo, Picture
from tests.engine.preprocessing.test_preprocessor import make_spec, noise, picture_of


def test_a_pad_value_per_channel_follows_the_order_of_the_tensor() -> None:
    fields: dict[str, object] = {"size": (4, 4), "resize": "letterbox", "rescale_factor": 1.0, "dtype": "uint8"}
    tensor = Preprocessor(make_spec(**fields, pad_value=(1, 2, 3), color="BGR"))(picture_of(noise(4, 2)))
    assert tensor[0, :, 0, 0].tolist() == [1, 2, 3]


@pytest.mark.parametrize(
    ("transparency", "expected"), [("white", [255, 227]), ("black", [0, 100]), ("drop", [50, 200])]
)
def test_transparency_is_white_black_or_dropped(transparency: str, expected: list[int]) -> None:
    pixels = np.full((1, 2, 3), [[50], [200]], np.uint8)
    picture = Picture(pixels, ImageInfo("PNG", 2, 1, alpha=True), np.array([[0, 128]], np.uint8))
    spec = make_spec(size=(1, 2), resize="stretch", rescale_factor=1.0, dtype="uint8", transparency=transparency)
    assert Preprocessor(spec)(picture)[0, 0, 0].tolist() == expected


@pytest.mark.parametrize(
    ("fields", "shapes"),
    [
        ({"resize": "letterbox", "size": (64, 64), "size_divisor": 32}, [(1, 3, 32, 64), (1, 3, 64, 64)]),
        ({"resize": "bounded", "size": None, "size_divisor": 8}, [(1, 3, 24, 96), (1, 3, 40, 40)]),
        ({"resize": "keep-aspect-ratio", "size": (32, 32), "size_divisor": 8}, [(1, 3, 32, 120), (1, 3, 32, 32)]),
    ],
)
def test_a_tensor_may_follow_the_picture(fields: dict[str, object], shapes: list[tuple[int, ...]]) -> None:
    preprocessor = Preprocessor(make_spec(**fields))
    assert [preprocessor(picture_of(noise(w, h))).shape for w, h in ((100, 26), (41, 44))] == shapes
    target = preprocessor.target
    assert preprocessor.frame(target).target == target
