"""A heat map in a picture's pixels, and its drawing over the picture."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from engine.drawing import opaque_copy
from engine.tasks.masks import Region, on_picture
from engine.tasks.outputs import Array
from loaders.images.base import Picture, Size

_STRENGTH = 0.75  # of the colour at the maximum
_BAND_ROWS = 256  # drawn at once, so that intermediates stay small


@dataclass(frozen=True, slots=True)
class HeatMap:
    """`values`: of the `region` of the picture that the model has seen, in its size or a smaller one of its ratio.

    A value is the change of the score by showing the pixel: what supports the target is positive.
    """

    values: Array
    region: Region
    picture: Size

    @property
    def minimum(self) -> float:
        return float(self.values.min())

    @property
    def maximum(self) -> float:
        return float(self.values.max())

    @property
    def peak(self) -> tuple[int, int]:
        """x and y of the maximum, in pixels of the picture."""
        rows, columns = self.values.shape
        row, column = divmod(int(self.values.argmax()), columns)
        x = self.region.left + int((column + 0.5) * self.region.size.width / columns)
        return x, self.region.top + int((row + 0.5) * self.region.size.height / rows)

    def levels(self) -> NDArray[np.uint8]:
        """(H, W) of the picture's size: 255 is the maximum, 0 is a value of 0 or below, or not seen by the model."""
        highest = self.maximum
        scaled = self.values.clip(0, None) * (255 / highest) if highest > 0 else np.zeros_like(self.values)
        return on_picture(np.rint(scaled).astype(np.uint8), self.region, self.picture)


def overlay(picture: Picture, levels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The map in colours over the picture, (H, W, 3) RGB; the picture shows where the map is low."""
    drawn = opaque_copy(picture)
    for first in range(0, len(drawn), _BAND_ROWS):
        band, part = drawn[first : first + _BAND_ROWS], levels[first : first + _BAND_ROWS]
        colours = cv2.cvtColor(cv2.applyColorMap(part, cv2.COLORMAP_TURBO), cv2.COLOR_BGR2RGB)
        weights = cv2.merge([part, part, part]).astype(np.float32) * np.float32(_STRENGTH / 255)
        band[:] = np.rint(band + (colours - band.astype(np.float32)) * weights)
    return drawn
