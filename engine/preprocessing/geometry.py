"""Sizes and offsets of a picture in a model's input."""

from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from loaders.images.base import Size
from loaders.repository.specs.model_spec import PreprocessSpec, Resize, Rounding

_AT_THE_TOP_LEFT = (Resize.LONGEST_EDGE, Resize.BOUNDED, Resize.KEEP_ASPECT_RATIO)


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


def input_size(picture: Size, spec: PreprocessSpec) -> Size:
    """The size of the input for an upright picture of this original size."""
    if not spec.follows_picture:
        return _full_size(spec)
    if spec.resize is Resize.LETTERBOX:
        return _minimal_rectangle(picture, spec)
    return _free_size(picture, spec)


def place(picture: Size, spec: PreprocessSpec, target: Size) -> Placement:
    """Place an upright picture of this original size in an input of size `target`, by the spec's resize mode."""
    resized = _resized(picture, spec, target)
    return Placement(resized, 0, 0) if spec.resize in _AT_THE_TOP_LEFT else _centre(resized, target, spec.crop_rounding)


def _resized(picture: Size, spec: PreprocessSpec, target: Size) -> Size:
    match spec.resize:
        case Resize.STRETCH:
            return _stretched(target, spec)
        case Resize.SHORTEST_EDGE:
            edge = spec.shortest_edge or min(target.width, target.height)
            return _scale_to_shortest(picture, edge, spec.resize_rounding)
        case Resize.COVER:
            return _cover(picture, _before_crop(spec, target), spec.resize_rounding)
        case Resize.LETTERBOX:
            return _letterboxed(picture, spec, target)
        case Resize.LONGEST_EDGE:
            return _fit(picture, target, spec.resize_rounding)
        case Resize.BOUNDED | Resize.KEEP_ASPECT_RATIO:
            return target if spec.follows_picture else _bounded_inside(picture, spec, target)


def _before_crop(spec: PreprocessSpec, target: Size) -> Size:
    return target if spec.resize_size is None else Size(width=spec.resize_size[1], height=spec.resize_size[0])


def _stretched(target: Size, spec: PreprocessSpec) -> Size:
    """The input's size, or larger if the centre is then cropped, as in DeiT and timm's `squash`."""
    if spec.resize_size is not None or spec.shortest_edge is None:
        return _before_crop(spec, target)
    short, edge = min(target.width, target.height), spec.shortest_edge
    return Size(*(_divide(side * edge, short, spec.resize_rounding) for side in (target.width, target.height)))


def _letterboxed(picture: Size, spec: PreprocessSpec, target: Size) -> Size:
    """With a divisor, the target is already that of the resized picture."""
    whole = _full_size(spec) if spec.follows_picture else _before_crop(spec, target)
    return _fit(picture, whole, spec.resize_rounding)


def _full_size(spec: PreprocessSpec) -> Size:
    if spec.size is None:
        raise ValueError("the spec lacks a size")
    return Size(width=spec.size[1], height=spec.size[0])


def _minimal_rectangle(picture: Size, spec: PreprocessSpec) -> Size:
    """Ultralytics' `auto`: the padding that is left after whole multiples of the divisor are taken from it."""
    whole, divisor = _full_size(spec), spec.size_divisor or 1
    resized = _fit(picture, whole, spec.resize_rounding)
    return Size(
        resized.width + (whole.width - resized.width) % divisor,
        resized.height + (whole.height - resized.height) % divisor,
    )


def _free_size(picture: Size, spec: PreprocessSpec) -> Size:
    """The size of a picture that fills the input, as multiples of the divisor."""
    size = _bounded(picture, spec) if spec.resize is Resize.BOUNDED else _scaled_least(picture, spec)
    if spec.resize is Resize.KEEP_ASPECT_RATIO or spec.size_divisor is None:
        return size
    divisor, rounding = spec.size_divisor, spec.size_rounding
    return Size(*(max(divisor, _divide(side, divisor, rounding) * divisor) for side in (size.width, size.height)))


def _scaled_least(picture: Size, spec: PreprocessSpec) -> Size:
    """DPT's rule: of the scales that fit height and width, the one nearer to 1; sides are rounded to multiples once."""
    whole, divisor = _full_size(spec), spec.size_divisor or 1
    scales = Fraction(whole.height, picture.height), Fraction(whole.width, picture.width)
    scale = min(scales, key=lambda one: abs(1 - one))
    if spec.longest_edge is not None:
        scale = min(scale, Fraction(spec.longest_edge, max(picture.width, picture.height)))
    sides = (side * scale / divisor for side in (picture.width, picture.height))
    return Size(*(max(1, _divide(s.numerator, s.denominator, spec.size_rounding)) * divisor for s in sides))


def _bounded(picture: Size, spec: PreprocessSpec) -> Size:
    """The rule of DETR: the shortest edge has the given length unless the longest one would exceed its bound."""
    shortest, longest = sorted((picture.width, picture.height))
    edge: float = spec.shortest_edge or shortest
    if spec.longest_edge and longest * edge > spec.longest_edge * shortest:
        edge = spec.longest_edge * shortest / longest
    scaled = edge * longest / shortest
    short, long = max(1, round(edge)), round(scaled) if spec.resize_rounding is Rounding.NEAREST else int(scaled)
    return Size(short, long) if picture.width <= picture.height else Size(long, short)


def _bounded_inside(picture: Size, spec: PreprocessSpec, target: Size) -> Size:
    """In an input of a given size, the rest of which is padded."""
    resized = _bounded(picture, spec)
    inside = resized.width <= target.width and resized.height <= target.height
    return resized if inside else _fit(picture, target, spec.resize_rounding)


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


def _cover(picture: Size, target: Size, rounding: Rounding) -> Size:
    """The smallest size of the picture's ratio that covers `target`."""
    if target.width * picture.height >= target.height * picture.width:
        return Size(target.width, _divide(target.width * picture.height, picture.width, rounding))
    return Size(_divide(target.height * picture.width, picture.height, rounding), target.height)


def _centre(resized: Size, target: Size, rounding: Rounding) -> Placement:
    """An odd pixel of padding is at the right and the bottom, in every framework."""
    return Placement(
        resized, _offset(target.width - resized.width, rounding), _offset(target.height - resized.height, rounding)
    )


def _offset(space: int, rounding: Rounding) -> int:
    return space // 2 if space >= 0 else -_divide(-space, 2, rounding)


def _divide(numerator: int, denominator: int, rounding: Rounding) -> int:
    """NEAREST rounds halves to even, as Python and NumPy do."""
    quotient, rest = divmod(numerator, denominator)
    if rounding is Rounding.UP:
        return quotient + (rest > 0)
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

    def points_to_picture(self, points: NDArray[np.float32]) -> NDArray[np.float32]:
        """Points (..., 2) as x, y, moved as the corners of `to_picture`."""
        with np.errstate(over="ignore"):  # an overflow is clipped, too
            return self.to_picture(np.tile(points.reshape(-1, 2), 2))[:, :2].reshape(points.shape)
