"""Decoding to a smaller size: JPEGs are scaled by 1/2, 1/4 or 1/8, as far as `at_least` allows, with both loaders."""

import numpy as np
import pytest

from loaders.image_loader import create_image_loader
from loaders.images.base import ImageInfo, ImageLoader, Size
from loaders.images.headers import read_header
from tests import pictures


@pytest.mark.parametrize(
    ("at_least", "size"),
    [
        (Size(20, 20), (100, 75)),
        (Size(100, 75), (100, 75)),
        (Size(101, 75), (200, 150)),
        (Size(100, 76), (200, 150)),
        (Size(200, 200), (400, 300)),
        (Size(401, 1), (800, 600)),
        (Size(5000, 5000), (800, 600)),
        (None, (800, 600)),
    ],
)
@pytest.mark.parametrize("orientation", [1, 6])
def test_jpeg_is_scaled_to_the_smallest_sufficient_size(
    loader: ImageLoader, at_least: Size | None, size: tuple[int, int], orientation: int
) -> None:
    data = pictures.rotated_twin(pictures.scene(800, 600), "JPEG", orientation)
    picture = loader.load(data, at_least)
    assert picture.pixels.shape == (size[1], size[0], 3)
    assert (picture.info.width, picture.info.height) == (800, 600)


def test_at_least_may_be_computed_from_the_header(loader: ImageLoader) -> None:
    data = pictures.encode(pictures.scene(800, 600), "JPEG")
    calls: list[ImageInfo] = []

    def half(info: ImageInfo) -> Size:
        calls.append(info)
        return Size(info.width // 2, info.height // 2)

    assert loader.load(data, half).pixels.shape == (300, 400, 3)
    assert loader.load(data, lambda _: None).pixels.shape == (600, 800, 3)
    assert calls == [read_header(data).info]


@pytest.mark.parametrize("sides", [(801, 603), (15, 9), (1, 1), (17, 400)])
@pytest.mark.parametrize("options", [{}, {"subsampling": 0}, {"progressive": True}])
def test_loaders_scale_to_equal_pixels(sides: tuple[int, int], options: dict[str, int]) -> None:
    data = pictures.encode(pictures.scene(*sides), "JPEG", **options)
    for side in (1, 2, 5, 70, 130):
        opencv, pillow = (create_image_loader(n).load(data, Size(side, side)).pixels for n in ("opencv", "pillow"))
        assert np.array_equal(opencv, pillow)
        assert opencv.shape[0] >= min(side, sides[1])
        assert opencv.shape[1] >= min(side, sides[0])


@pytest.mark.parametrize("scale", [2, 4, 8])
def test_scaling_averages_without_a_shift(loader: ImageLoader, scale: int) -> None:
    scene = pictures.scene(320, 240)
    scaled = loader.load(pictures.encode(scene, "JPEG", quality=95), Size(320 // scale, 240 // scale)).pixels
    boxes = scene.reshape(240 // scale, scale, 320 // scale, scale, 3).mean(axis=(1, 3))
    assert scaled.shape == boxes.shape
    inside = np.s_[2:-2, 2:-2]
    assert np.abs(scaled[inside] - boxes[inside]).mean() < 1.5
    assert abs(float((scaled[inside] - boxes[inside]).mean())) < 0.5  # half a pixel would be 0.4 x scale levels


@pytest.mark.parametrize("image_format", ["PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF"])
def test_other_formats_are_not_scaled(loader: ImageLoader, image_format: str) -> None:
    picture = loader.load(pictures.encode(pictures.scene(), image_format), Size(4, 4))
    assert picture.pixels.shape == (64, 96, 3)
