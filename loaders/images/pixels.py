"""Operations on decoded pixels that all image loaders share, so that their results are equal."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

_BAND_ROWS = 64  # converted at once, so that 32-bit intermediates stay small
_OPAQUE = 255
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


@dataclass(frozen=True, slots=True)
class Decoded:
    """Stored pixels: `rgb` is (H, W, 3), `alpha` (H, W), 255 is opaque; None if the format or the file has none."""

    rgb: Pixels
    alpha: Pixels | None = None

    def upright(self, orientation: int) -> "Decoded":
        """Applies the EXIF orientation; without `alpha` if every pixel is opaque."""
        transparent = self.alpha is not None and (self.alpha < _OPAQUE).any()
        alpha = turn_upright(self.alpha, orientation) if transparent and self.alpha is not None else None
        return Decoded(turn_upright(self.rgb, orientation), alpha)


def composite(rgb: Pixels, alpha: Pixels, background: int) -> Pixels:
    """Puts pixels in front of black (0) or white (255), rounding to the nearest level; `alpha` is (H, W)."""
    result = np.empty_like(rgb)
    for first in range(0, len(rgb), _BAND_ROWS):
        band, part = slice(first, first + _BAND_ROWS), alpha[first : first + _BAND_ROWS]
        weights = cv2.merge([part, part, part])
        cv2.multiply(rgb[band], weights, dst=result[band], scale=1 / _OPAQUE)
        if background:
            cv2.add(result[band], cv2.bitwise_not(weights), dst=result[band])
    return result


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


def grey_to_rgb(samples: Samples, bit_depth: int, key: int | None) -> Decoded:
    """Converts grey (H, W). Samples equal to `key` (in the file's bit depth) are transparent.

    Decoders have already scaled samples of fewer than 8 bits to 0..255.
    """
    grey = to_8_bit(samples)
    rgb = as_pixels(cv2.merge([grey, grey, grey]))
    if key is None:
        return Decoded(rgb)
    shown = key if bit_depth >= 8 else key * 255 // ((1 << bit_depth) - 1)
    return Decoded(rgb, np.where(samples == shown, np.uint8(0), np.uint8(_OPAQUE)))


def missing_rows(pixels: Pixels) -> float:
    """Returns the share of rows at the bottom, 0 to 1, that the decoder filled in for a truncated JPEG."""
    present = np.flatnonzero((pixels != UNDECODED_GREY).any(axis=(1, 2)))
    return 1.0 if present.size == 0 else 1 - (int(present[-1]) + 1) / len(pixels)


def as_pixels(array: object) -> Pixels:
    """Returns the array as C-contiguous uint8, without a copy if it is that already."""
    return np.ascontiguousarray(array, dtype=np.uint8)
