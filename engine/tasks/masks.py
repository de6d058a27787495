"""Maps of a model's own size -> masks of the original picture's size, as PNG."""

import base64
import math
from dataclasses import dataclass
from typing import TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from engine.preprocessing.geometry import Frame, visible
from engine.tasks.predictions import Box
from loaders.images.base import Size

Mask = NDArray[np.uint8]
Number = TypeVar("Number", np.uint8, np.float32)

# Masks are computed with at most so many pixels, and enlarged to the picture's size by repeating them. Float planes of
# a 100-megapixel picture would take 400 MB each, and a model's map has no more detail to show.
MAX_COMPUTED_PIXELS = 2**20

# Masks are large flat areas: filters cost time and gain nothing.
_PNG = (cv2.IMWRITE_PNG_COMPRESSION, 1, cv2.IMWRITE_PNG_FILTER, cv2.IMWRITE_PNG_FILTER_NONE)


@dataclass(frozen=True, slots=True)
class Region:
    """A part of the picture, in whole pixels of it; at least one pixel."""

    left: int
    top: int
    right: int
    bottom: int

    @property
    def size(self) -> Size:
        return Size(self.right - self.left, self.bottom - self.top)


def seen_region(frame: Frame) -> Region:
    """What of the picture the model has seen: all of it, unless a crop cut something off."""
    place, picture, target = frame.placement, frame.picture, frame.target
    across = visible(place.left, place.resized.width, target.width, picture.width)
    down = visible(place.top, place.resized.height, target.height, picture.height)
    left, right = round(across.source_start), round(across.source_stop)
    top, bottom = round(down.source_start), round(down.source_stop)
    return _whole_pixels(left, top, right, bottom, Region(0, 0, picture.width, picture.height))


def box_region(box: Box, frame: Frame) -> Region:
    """The pixels that a box touches, of those the model has seen."""
    left, top, right, bottom = math.floor(box.xmin), math.floor(box.ymin), math.ceil(box.xmax), math.ceil(box.ymax)
    return _whole_pixels(left, top, right, bottom, seen_region(frame))


def computed_size(region: Region) -> Size:
    """The region's size, or the largest of its ratio with MAX_COMPUTED_PIXELS."""
    scale = min(1.0, (MAX_COMPUTED_PIXELS / region.size.pixels) ** 0.5)
    return Size(max(1, int(region.size.width * scale)), max(1, int(region.size.height * scale)))


def resample(
    plane: NDArray[Number], frame: Frame, region: Region, size: Size, resampling: Image.Resampling
) -> NDArray[Number]:
    """What a map (h, w) of the whole input says about a region of the picture, resized to `size`.

    The filter looks beyond the region, but never at the input's padding.
    """
    left, top, right, bottom = _on_map(region, plane, frame)
    seen = _on_map(seen_region(frame), plane, frame)
    first_column, first_row = math.floor(seen[0]), math.floor(seen[1])
    shown = plane[first_row : math.ceil(seen[3]), first_column : math.ceil(seen[2])]
    box = (left - first_column, top - first_row, right - first_column, bottom - first_row)
    image = Image.fromarray(np.ascontiguousarray(shown))
    return np.asarray(image.resize((size.width, size.height), resampling, box=box), plane.dtype)


def _on_map(region: Region, plane: NDArray[Number], frame: Frame) -> tuple[float, float, float, float]:
    """Left, top, right and bottom of a region in the map's pixels."""
    height, width = plane.shape
    place, picture, target = frame.placement, frame.picture, frame.target
    left, right = (
        _clip((x * place.resized.width / picture.width + place.left) * width / target.width, width)
        for x in (region.left, region.right)
    )
    top, bottom = (
        _clip((y * place.resized.height / picture.height + place.top) * height / target.height, height)
        for y in (region.top, region.bottom)
    )
    return left, top, right, bottom


def on_picture(mask: Mask, region: Region, picture: Size) -> Mask:
    """Enlarges a region's mask by repeating pixels, and puts it on a picture that is 0 elsewhere."""
    size = region.size
    if mask.shape != (size.height, size.width):
        mask = np.asarray(cv2.resize(mask, (size.width, size.height), interpolation=cv2.INTER_NEAREST_EXACT), np.uint8)
    if size == picture:
        return mask
    canvas = np.zeros((picture.height, picture.width), np.uint8)
    canvas[region.top : region.bottom, region.left : region.right] = mask
    return canvas


def png(mask: Mask) -> str:
    """(H, W), 0 to 255 -> base64 of an 8-bit grey PNG."""
    _, data = cv2.imencode(".png", mask, _PNG)
    return base64.b64encode(data.tobytes()).decode("ascii")


def _whole_pixels(left: int, top: int, right: int, bottom: int, outer: Region) -> Region:
    """Inside `outer`, and of at least one pixel."""
    left = min(max(left, outer.left), outer.right - 1)
    top = min(max(top, outer.top), outer.bottom - 1)
    return Region(left, top, max(left + 1, min(right, outer.right)), max(top + 1, min(bottom, outer.bottom)))


def _clip(value: float, most: int) -> float:
    return min(max(value, 0.0), float(most))
