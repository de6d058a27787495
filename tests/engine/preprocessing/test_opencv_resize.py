"""Tensors of models that are run with OpenCV equal `cv2.resize` in every bit."""

import cv2
import numpy as np
import pytest

from engine.preprocessing.preprocessor import Preprocessor
from loaders.images.base import ImageInfo
from tests.engine.preprocessing.test_preprocessor import OPENCV, make_spec, noise, picture_of


@pytest.mark.parametrize("interpolation", OPENCV)
@pytest.mark.parametrize("size", [(64, 64), (48, 96)])
@pytest.mark.parametrize(("width", "height"), [(128, 128), (200, 131), (37, 90), (300, 2), (1, 1), (64, 64)])
def test_an_opencv_letterbox_equals_resize_and_copy_make_border(
    interpolation: str, size: tuple[int, int], width: int, height: int
) -> None:
    """The steps of Ultralytics' LetterBox."""
    pixels = noise(width, height)
    ratio = min(size[0] / height, size[1] / width)
    across, down = max(1, round(width * ratio)), max(1, round(height * ratio))
    resized = (
        pixels
        if (across, down) == (width, height)
        else cv2.resize(pixels, (across, down), interpolation=OPENCV[interpolation])
    )
    dw, dh = (size[1] - across) / 2, (size[0] - down) / 2
    borders = round(dh - 0.1), round(dh + 0.1), round(dw - 0.1), round(dw + 0.1)
    expected = cv2.copyMakeBorder(resized, *borders, cv2.BORDER_CONSTANT, value=(114, 114, 114))
    spec = make_spec(
        size=size, resize="letterbox", interpolation=interpolation, resize_rounding="nearest", pad_value=114,
        rescale_factor=1.0, dtype="uint8", layout="NHWC",
    )  # fmt: skip
    preprocessor = Preprocessor(spec)
    assert preprocessor.decode_size(ImageInfo("JPEG", width, height)) is None
    assert np.array_equal(preprocessor(picture_of(pixels))[0], expected)


def test_an_opencv_crop_shows_the_middle_of_the_whole_resize() -> None:
    pixels = noise(90, 60)
    spec = make_spec(
        size=(16, 20), shortest_edge=30, interpolation="opencv-linear", rescale_factor=1.0, dtype="uint8", layout="NHWC"
    )
    whole = cv2.resize(pixels, (45, 30), interpolation=cv2.INTER_LINEAR)
    assert np.array_equal(Preprocessor(spec)(picture_of(pixels))[0], whole[7:23, 12:32])


def test_an_opencv_resize_of_an_extreme_picture_stays_small() -> None:
    spec = make_spec(size=(224, 224), shortest_edge=256, interpolation="opencv-linear")
    assert Preprocessor(spec)(picture_of(noise(60_000, 1))).shape == (1, 3, 224, 224)
