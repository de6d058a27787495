"""Steps on decoded pixels that every image loader shares, so that all of them give one answer."""

import cv2
import numpy as np
from numpy.typing import NDArray

_BAND_ROWS = 64  # computed at once: what is wider than the picture itself stays small
UNDECODED_GREY = 128  # what libjpeg fills in where a JPEG's data are missing

Pixels = NDArray[np.uint8]
Samples = NDArray[np.uint8] | NDArray[np.uint16]


def turn_upright(pixels: Pixels, orientation: int) -> Pixels:
    """Undoes the EXIF orientation (1 to 8) of stored pixels."""
    if orientation == 1:
        return pixels
    stored = cv2.transpose(pixels) if orientation >= 5 else pixels
    flip = {2: 1, 3: -1, 4: 0, 6: 1, 7: -1, 8: 0}.get(orientation)
    return as_pixels(stored if flip is None else cv2.flip(stored, flip))


def over_white(rgb: Pixels, alpha: Pixels) -> Pixels:
    """Composites over white, rounded to the nearest level; `alpha` is (H, W), 255 is opaque."""
    if not (alpha < 255).any():
        return rgb
    weights = cv2.merge([alpha, alpha, alpha])
    return as_pixels(cv2.add(cv2.multiply(rgb, weights, scale=1 / 255), cv2.bitwise_not(weights)))


def to_8_bit(samples: Samples) -> Pixels:
    """Of 16 bits, 65535 becomes 255: v / 257, rounded to the nearest. (257 is odd: there are no ties.)"""
    if samples.dtype.itemsize == 1:
        return as_pixels(samples)
    narrow = np.empty(samples.shape, np.uint8)
    for first in range(0, len(samples), _BAND_ROWS):
        wide = samples[first : first + _BAND_ROWS].astype(np.uint32)
        wide *= 255
        wide += 32_895
        wide >>= 16
        narrow[first : first + _BAND_ROWS] = wide
    return narrow


def grey_over_white(samples: Samples, bit_depth: int, key: int | None) -> Pixels:
    """Grey (H, W) as RGB. Samples equal to `key` (in units of the file's bit depth) are transparent: white.

    Samples of fewer than 8 bits are those a decoder has already stretched to 0..255.
    """
    grey = to_8_bit(samples)
    if key is not None:
        shown = key if bit_depth >= 8 else key * 255 // ((1 << bit_depth) - 1)
        grey = np.where(samples == shown, np.uint8(255), grey)
    return as_pixels(cv2.merge([grey, grey, grey]))


def missing_rows(pixels: Pixels) -> float:
    """The share of rows at the bottom, 0 to 1, that a decoder filled in because a JPEG's data ended."""
    present = np.flatnonzero((pixels != UNDECODED_GREY).any(axis=(1, 2)))
    return 1.0 if present.size == 0 else 1 - (int(present[-1]) + 1) / len(pixels)


def as_pixels(array: object) -> Pixels:
    """The same array where it is uint8 and C-contiguous already."""
    return np.ascontiguousarray(array, dtype=np.uint8)
