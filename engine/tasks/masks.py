"""Resizes masks and maps from a model's size to that of the original picture, and encodes them as PNG."""

import base64
import math
from dataclasses import dataclass
from typing import Any, TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from engine.preprocessing.geometry import Frame, visible
from loaders.images.base import Size

Mask = NDArray[np.uint8]
Number = TypeVar("Number", np.uint8, np.int16, np.float32)
Pixel = TypeVar("Pixel", np.uint8, np.uint16)

# Masks are computed with at most this many pixels, and enlarged to the picture's size by repeating pixels: a float
# plane of a 100-megapixel picture takes 400 MB, and the output of a model has no more detail.
MAX_COMPUTED_PIXELS = 2**20

# Masks have large flat areas: PNG filters take time and gain nothing.
_PNG = (cv2.IMWRITE_PNG_COMPRESSION, 1, cv2.IMWRITE_PNG_FILTER, cv2.IMWRITE_PNG_FILTER_NONE)
# Values of 16 bits hardly repeat: a search for matches takes twice the time and gains 5 %.
_PNG_OF_16_BITS = (
    cv2.IMWRITE_PNG_COMPRESSION, 1, cv2.IMWRITE_PNG_FILTER, cv2.IMWRITE_PNG_FILTER_AVG,
    cv2.IMWRITE_PNG_STRATEGY, cv2.IMWRITE_PNG_STRATEGY_RLE,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Region:
    """A part of the picture in whole pixels, at least one."""

    left: int
    top: int
    right: int
    bottom: int

    @property
    def size(self) -> Size:
        return Size(self.right - self.left, self.bottom - self.top)


def visible_region(frame: Frame) -> Region:
    """The part of the picture inside the input: all of it unless it was cropped."""
    place, picture, target = frame.placement, frame.picture, frame.target
    across = visible(place.left, place.resized.width, target.width, picture.width)
    down = visible(place.top, place.resized.height, target.height, picture.height)
    left, right = round(across.source_start), round(across.source_stop)
    top, bottom = round(down.source_start), round(down.source_stop)
    left, top = min(left, picture.width - 1), min(top, picture.height - 1)
    return Region(left, top, max(left + 1, right), max(top + 1, bottom))


def box_region(box: NDArray[np.float32], frame: Frame) -> Region | None:
    """The pixels of the visible region whose top left corner is in a box, as in Ultralytics; None if there are none."""
    outer = visible_region(frame)
    left, top, right, bottom = (math.ceil(edge) for edge in box)
    left, top = max(left, outer.left), max(top, outer.top)
    right, bottom = min(right, outer.right), min(bottom, outer.bottom)
    return Region(left, top, right, bottom) if left < right and top < bottom else None


def computed_size(region: Region, most: int = MAX_COMPUTED_PIXELS) -> Size:
    """The region's size, or the largest of its ratio with `most` pixels."""
    scale = min(1.0, (most / region.size.pixels) ** 0.5)
    return Size(max(1, int(region.size.width * scale)), max(1, int(region.size.height * scale)))


def resample(
    plane: NDArray[Number], frame: Frame, region: Region, size: Size, resampling: Image.Resampling
) -> NDArray[Number]:
    """The values of a plane (h, w) of the whole input for a region of the picture, resized to `size`.

    The filter reads beyond the region, but never the padding of the input.
    """
    left, top, right, bottom = _in_plane(region, plane, frame)
    visible_part = _in_plane(visible_region(frame), plane, frame)
    first_column, first_row = math.floor(visible_part[0]), math.floor(visible_part[1])
    shown = plane[first_row : math.ceil(visible_part[3]), first_column : math.ceil(visible_part[2])]
    box = (left - first_column, top - first_row, right - first_column, bottom - first_row)
    image = Image.fromarray(np.ascontiguousarray(shown))
    return np.asarray(image.resize((size.width, size.height), resampling, box=box), plane.dtype)


def bilinear_part(plane: NDArray[np.float32], frame: Frame, region: Region, size: Size) -> NDArray[np.float32]:
    """As torch.nn.functional.interpolate, and exact for a part of the plane that is enlarged.

    That is Pillow's filter, which antialiases where it shrinks.
    """
    left, top, right, bottom = _in_plane(region, plane, frame)
    if size.width < right - left or size.height < bottom - top:
        return interpolate(plane, frame, region, size, cv2.INTER_LINEAR)
    return resample(plane, frame, region, size, Image.Resampling.BILINEAR)


def interpolate(
    plane: NDArray[Number], frame: Frame, region: Region, size: Size, interpolation: int
) -> NDArray[Number]:
    """As `resample`, by one of OpenCV's interpolations: no antialiasing, as torch.nn.functional.interpolate.

    Exact where the region is all of the plane, else within half a pixel of the result.
    """
    left, top, right, bottom = _in_plane(region, plane, frame)
    first_column, first_row = math.floor(left), math.floor(top)
    shown = plane[first_row : math.ceil(bottom), first_column : math.ceil(right)]
    across, down = size.width / (right - left), size.height / (bottom - top)
    column, row = round((left - first_column) * across), round((top - first_row) * down)
    width, height = round(shown.shape[1] * across), round(shown.shape[0] * down)
    whole = (max(width, column + size.width), max(height, row + size.height))
    resized = cv2.resize(np.ascontiguousarray(shown), whole, interpolation=interpolation)
    return np.asarray(resized[row : row + size.height, column : column + size.width], plane.dtype)


def _in_plane(region: Region, plane: NDArray[Number], frame: Frame) -> tuple[float, float, float, float]:
    """Left, top, right and bottom of a region in pixels of the plane."""
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


def on_picture(mask: NDArray[Pixel], region: Region, picture: Size) -> NDArray[Pixel]:
    """Enlarge a region's mask by repeating pixels, and paste it into a mask of the picture that is 0 elsewhere."""
    size = region.size
    if mask.shape != (size.height, size.width):
        enlarged = cv2.resize(mask, (size.width, size.height), interpolation=cv2.INTER_NEAREST_EXACT)
        mask = np.asarray(enlarged, mask.dtype)
    if size == picture:
        return mask
    canvas = np.zeros((picture.height, picture.width), mask.dtype)
    canvas[region.top : region.bottom, region.left : region.right] = mask
    return canvas


def png(mask: Mask | NDArray[np.uint16]) -> str:
    """Base64 of a grey PNG of 8 or 16 bits, from (H, W)."""
    _, data = cv2.imencode(".png", mask, _PNG if mask.dtype == np.uint8 else _PNG_OF_16_BITS)
    return base64.b64encode(data.tobytes()).decode("ascii")


def from_png(text: str) -> NDArray[Any]:
    """The pixels that `png` has encoded: (H, W), uint8 or uint16."""
    return np.asarray(cv2.imdecode(np.frombuffer(base64.b64decode(text), np.uint8), cv2.IMREAD_UNCHANGED))


def _clip(value: float, most: int) -> float:
    return min(max(value, 0.0), float(most))
