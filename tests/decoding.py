"""Decodes and compares pictures in tests of loaders."""

import numpy as np

from loaders.image_loader import create_image_loader
from loaders.images.base import ImageLoader
from loaders.images.headers import read_header
from loaders.images.pixels import composite
from tests.pictures import Pixels


def decode(loader: ImageLoader, data: bytes) -> Pixels:
    """Decodes, and checks the contract of `Picture`. Returns the picture over white."""
    picture = loader.load(data)
    pixels = picture.pixels
    assert pixels.dtype == np.uint8
    assert pixels.flags.c_contiguous
    assert pixels.flags.writeable
    assert pixels.shape == (picture.info.height, picture.info.width, 3)
    assert picture.info == read_header(data).info
    assert picture.info.alpha == (picture.alpha is not None)
    if picture.alpha is None:
        return pixels
    assert picture.alpha.dtype == np.uint8
    assert picture.alpha.shape == pixels.shape[:2]
    assert (picture.alpha < 255).any()
    return composite(pixels, picture.alpha, 255)


def decode_both(data: bytes) -> tuple[Pixels, Pixels]:
    return decode(create_image_loader("opencv"), data), decode(create_image_loader("pillow"), data)


def largest_difference(one: Pixels, other: Pixels) -> int:
    assert one.shape == other.shape
    return int(np.abs(one.astype(int) - other).max())


def mean_difference(one: Pixels, other: Pixels) -> float:
    return float(np.abs(one.astype(int) - other).mean())
