"""Where a picture lands in a model's input: sizes and offsets only, no pixels."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from loaders.images.base import Size
from loaders.repository.specs.model_spec import PreprocessSpec, Resize, Rounding


@dataclass(frozen=True, slots=True)
class Placement:
    """The picture is resized to `resized`; its top left corner then lies at (`left`, `top`) of the input.

    Both are in the input's pixels: negative where the picture is cropped, positive where it is padded.
    """

    resized: Size
    left: int
    top: int


@dataclass(frozen=True, slots=True)
class Span:
    """Along one axis: the input's pixels from `start`, `length` of them, show the source from `source_start` to
    `source_stop`, in (fractions of) the decoded picture's pixels."""

    start: int
    length: int
    source_start: float
    source_stop: float


def visible(offset: int, resized: int, target: int, source: float, begins: float = 0.0) -> Span:
    """The part of a resized axis that lies inside the input, and what of the decoded picture it shows.

    The picture is `source` decoded pixels long, after `begins` that do not belong to it.
    """
    first, last = max(0, -offset), min(resized, target - offset)
    scale = source / resized
    return Span(max(0, offset), last - first, begins + first * scale, begins + min(last * scale, source))


def place(picture: Size, spec: PreprocessSpec, target: Size) -> Placement:
    """Puts an upright picture of that original size into an input of size `target`, by the spec's resize mode."""
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
    """The input's own size, or larger by what is then cropped: DeiT's way, and timm's `squash`."""
    short = min(target.width, target.height)
    edge = spec.shortest_edge or short
    return Size(*(_divide(side * edge, short, spec.resize_rounding) for side in (target.width, target.height)))


def bounded(picture: Size, spec: PreprocessSpec) -> Size:
    """The rule of DETR's processors: the shortest edge as asked for, unless the longest would pass its bound."""
    shortest, longest = sorted((picture.width, picture.height))
    edge: float = spec.shortest_edge or shortest
    if spec.longest_edge and longest * edge > spec.longest_edge * shortest:
        edge = spec.longest_edge * shortest / longest
    short, long = round(edge), int(edge * longest / shortest)
    return Size(short, long) if picture.width <= picture.height else Size(long, short)


def _scale_to_shortest(picture: Size, edge: int, rounding: Rounding) -> Size:
    """Integer arithmetic: `edge * long / short` without the float's last-digit surprises."""
    if picture.width <= picture.height:
        return Size(edge, _divide(edge * picture.height, picture.width, rounding))
    return Size(_divide(edge * picture.width, picture.height, rounding), edge)


def _fit(picture: Size, target: Size, rounding: Rounding) -> Size:
    """The largest size of the picture's ratio inside `target`; no side falls below a pixel."""
    if target.width * picture.height <= target.height * picture.width:
        return Size(target.width, max(1, _divide(target.width * picture.height, picture.width, rounding)))
    return Size(max(1, _divide(target.height * picture.width, picture.height, rounding)), target.height)


def _centre(resized: Size, target: Size, rounding: Rounding) -> Placement:
    left, top = target.width - resized.width, target.height - resized.height
    return Placement(resized, _half(left, rounding), _half(top, rounding))


def _half(space: int, rounding: Rounding) -> int:
    """Half of `space`, which is negative for a crop: rounded as the crop's own offset would be."""
    half = _divide(abs(space), 2, rounding)
    return half if space >= 0 else -half


def _divide(numerator: int, denominator: int, rounding: Rounding) -> int:
    """NEAREST takes halves to the even number, as Python and NumPy round."""
    quotient, rest = divmod(numerator, denominator)
    if rounding is Rounding.DOWN or 2 * rest < denominator:
        return quotient
    return quotient + (2 * rest > denominator or quotient % 2)


@dataclass(frozen=True, slots=True)
class Frame:
    """One picture in a model's input of size `target`: what maps boxes and masks back to the picture's own pixels."""

    picture: Size
    placement: Placement
    target: Size

    def to_picture(self, boxes: NDArray[np.float32]) -> NDArray[np.float32]:
        """Boxes (B, 4) as xmin, ymin, xmax, ymax in the input's pixels -> the picture's pixels, cut at its borders."""
        left, top = self.placement.left, self.placement.top
        across = self.picture.width / self.placement.resized.width
        down = self.picture.height / self.placement.resized.height
        moved = boxes - np.array([left, top, left, top], np.float32)
        scaled = moved * np.array([across, down, across, down], np.float32)
        return np.clip(scaled, 0, np.array([self.picture.width, self.picture.height] * 2, np.float32))
