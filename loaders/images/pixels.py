"""Operations on decoded pixels that all image loaders share, so that their results are equal."""

import cv2
import numpy as np
from numpy.typing import NDArray

_BAND_ROWS = 64  # converted at once, so that 32-bit intermediates stay small
UNDECODED_GREY = 128  # libjpeg fills in this value where data are missing

Pixels = NDArray[np.uint8]
Samples = NDArray[np.uint8] | NDArray[np.uint16]


def turn_upright(pixels: Pixels, orientation: int) -> Pixels:
    """Applies the EXIF orientation (1 to 8) to stored pixels."""
    if orientation == 1:
        return pixels
    stored = cv2.transpose(pixels) if orientation >= 5 else pixels
    flip = {2: 1, 3: -1, 4: 0, 6: 1, 7: -1, 8: 0}.get(orientation)
    return as_pixels(stored if flip is None else cv2.flip(stored, flip))


def over_white(rgb: Pixels, alpha: Pixels) -> Pixels:
    """Composites over white, rounding to the nearest level; `alpha` is (H, W), 255 is opaque."""
    if not (alpha < 255).any():
        return rgb
    weights = cv2.merge([alpha, alpha, alpha])
    return as_pixels(cv2.add(cv2.multiply(rgb, weights, scale=1 / 255), cv2.bitwise_not(weights)))


def to_8_bit(samples: Samples) -> Pixels:
    """Converts 16 bits to 8: v / 257, rounded to the nearest. (There are no ties, as 257 is odd.)"""
    if samples.dtype.itemsize == 1:
        return as_pixels(samples)
    result = np.empty(samples.shape, np.uint8)
    for first in range(0, len(samples), _BAND_ROWS):
        band = samples[first : first + _BAND_ROWS].astype(np.uint32)
        band *= 255
        band += 32_895
        band >>= 16
        result[first : first + _BAND_ROWS] = band
    return result


def grey_over_white(samples: Samples, bit_depth: int, key: int | None) -> Pixels:
    """Converts grey (H, W) to RGB. Samples equal to `key` (in the file's bit depth) are transparent and become white.

    Decoders have already scaled samples of fewer than 8 bits to 0..255.
    """
    grey = to_8_bit(samples)
    if key is not None:
        shown = key if bit_depth >= 8 else key * 255 // ((1 << bit_depth) - 1)
        grey = np.where(samples == shown, np.uint8(255), grey)
    return as_pixels(cv2.merge([grey, grey, grey]))


def missing_rows(pixels: Pixels) -> float:
    """Returns the share of rows at the bottom, 0 to 1, that the decoder filled in for a truncated JPEG."""
    present = np.flatnonzero((pixels != UNDECODED_GREY).any(axis=(1, 2)))
    return 1.0 if present.size == 0 else 1 - (int(present[-1]) + 1) / len(pixels)


def as_pixels(array: object) -> Pixels:
    """Returns the array as C-contiguous uint8, without a copy if it is that already."""
    return np.ascontiguousarray(array, dtype=np.uint8)
