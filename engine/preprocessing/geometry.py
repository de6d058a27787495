"""Sizes and offsets of a picture in a model's input."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from loaders.images.base import Size
from loaders.repository.specs.model_spec import PreprocessSpec, Resize, Rounding


@dataclass(frozen=True, slots=True)
class Placement:
    """`resized`: the picture's size in the input. (`left`, `top`): its top left corner in the input's pixels.

    Offsets are negative if the picture is cropped and positive if it is padded.
    """

    resized: Size
    left: int
    top: int


@dataclass(frozen=True, slots=True)
class Span:
    """Along one axis: `length` pixels of the input from `start` on, and the part of the source that they show.

    `source_start` and `source_stop` are in pixels of the decoded picture, with fractions.
    """

    start: int
    length: int
    source_start: float
    source_stop: float


def visible(offset: int, resized: int, target: int, source: float, begins: float = 0.0) -> Span:
    """The part of a resized axis inside the input, and the part of the decoded picture that it shows.

    The picture has `source` decoded pixels, after `begins` pixels that do not belong to it.
    """
    first, last = max(0, -offset), min(resized, target - offset)
    scale = source / resized
    return Span(max(0, offset), last - first, begins + first * scale, begins + min(last * scale, source))


def place(picture: Size, spec: PreprocessSpec, target: Size) -> Placement:
    """Place an upright picture of this original size in an input of size `target`, by the spec's resize mode."""
    match spec.resize:
        case Resize.STRETCH:
            return _centre(_stretched(target, spec), target, spec.crop_rounding)
        case Resize.SHORTEST_EDGE:
            edge = spec.shortest_edge or min(target.width, target.height)
            resized = _scale_to_shortest(picture, edge, spec.resize_rounding)
            return _centre(resized, target, spec.crop_rounding)
        case Resize.LETTERBOX:
            return _centre(_fit(picture, target, spec.resize_rounding), target, spec.crop_rounding)
        case Resize.LONGEST_EDGE:
            return Placement(_fit(picture, target, spec.resize_rounding), 0, 0)
        case Resize.BOUNDED:
            return Placement(bounded(picture, spec), 0, 0)


def _stretched(target: Size, spec: PreprocessSpec) -> Size:
    """The input's size, or larger if the centre is then cropped, as in DeiT and timm's `squash`."""
    short = min(target.width, target.height)
    edge = spec.shortest_edge or short
    return Size(*(_divide(side * edge, short, spec.resize_rounding) for side in (target.width, target.height)))


def bounded(picture: Size, spec: PreprocessSpec) -> Size:
    """The rule of DETR: the shortest edge has the given length unless the longest one would exceed its bound."""
    shortest, longest = sorted((picture.width, picture.height))
    edge: float = spec.shortest_edge or shortest
    if spec.longest_edge and longest * edge > spec.longest_edge * shortest:
        edge = spec.longest_edge * shortest / longest
    short, long = round(edge), int(edge * longest / shortest)
    return Size(short, long) if picture.width <= picture.height else Size(long, short)


def _scale_to_shortest(picture: Size, edge: int, rounding: Rounding) -> Size:
    """In integer arithmetic, without the rounding errors of `edge * long / short`."""
    if picture.width <= picture.height:
        return Size(edge, _divide(edge * picture.height, picture.width, rounding))
    return Size(_divide(edge * picture.width, picture.height, rounding), edge)


def _fit(picture: Size, target: Size, rounding: Rounding) -> Size:
    """The largest size of the picture's ratio inside `target`, each side at least 1."""
    if target.width * picture.height <= target.height * picture.width:
        return Size(target.width, max(1, _divide(target.width * picture.height, picture.width, rounding)))
    return Size(max(1, _divide(target.height * picture.width, picture.height, rounding)), target.height)


def _centre(resized: Size, target: Size, rounding: Rounding) -> Placement:
    left, top = target.width - resized.width, target.height - resized.height
    return Placement(resized, _half(left, rounding), _half(top, rounding))


def _half(space: int, rounding: Rounding) -> int:
    """Half of `space`, negative for a crop, rounded like the offset of a crop."""
    half = _divide(abs(space), 2, rounding)
    return half if space >= 0 else -half


def _divide(numerator: int, denominator: int, rounding: Rounding) -> int:
    """NEAREST rounds halves to even, as Python and NumPy do."""
    quotient, rest = divmod(numerator, denominator)
    if rounding is Rounding.DOWN or 2 * rest < denominator:
        return quotient
    return quotient + (2 * rest > denominator or quotient % 2)


@dataclass(frozen=True, slots=True)
class Frame:
    """A picture in a model's input of size `target`: maps boxes and masks back to the picture's pixels."""

    picture: Size
    placement: Placement
    target: Size

    def to_picture(self, boxes: NDArray[np.float32]) -> NDArray[np.float32]:
        """Boxes (B, 4) as xmin, ymin, xmax, ymax, from the input's to the picture's pixels, clipped to its borders."""
        left, top = self.placement.left, self.placement.top
        across = self.picture.width / self.placement.resized.width
        down = self.picture.height / self.placement.resized.height
        moved = boxes - np.array([left, top, left, top], np.float32)
        scaled = moved * np.array([across, down, across, down], np.float32)
        return np.clip(scaled, 0, np.array([self.picture.width, self.picture.height] * 2, np.float32))
