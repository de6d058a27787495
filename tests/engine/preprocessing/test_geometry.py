"""Sizes and offsets, compared with the rules of each framework."""

from collections.abc import Callable
from fractions import Fraction
from math import ceil

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.preprocessing.geometry import Placement, input_size, place, visible
from loaders.images.base import Size
from loaders.repository.specs.model_spec import PreprocessSpec, Resize, Rounding

LARGEST_PICTURE = 65_535
LARGEST_INPUT = 1_024

sides = st.integers(1, LARGEST_PICTURE)
sizes = st.builds(Size, sides, sides)
targets = st.builds(Size, st.integers(1, LARGEST_INPUT), st.integers(1, LARGEST_INPUT))
edges = st.one_of(st.none(), st.integers(1, LARGEST_INPUT))
roundings = st.sampled_from(Rounding)
to_int: dict[Rounding, Callable[[Fraction], int]] = {
    Rounding.DOWN: int,
    Rounding.NEAREST: round,
    Rounding.UP: ceil,
}
modes = st.sampled_from((Resize.STRETCH, Resize.SHORTEST_EDGE, Resize.LETTERBOX, Resize.LONGEST_EDGE))


def spec(
    resize: Resize,
    *,
    shortest_edge: int | None = None,
    resize_rounding: Rounding = Rounding.DOWN,
    crop_rounding: Rounding = Rounding.DOWN,
) -> PreprocessSpec:
    return PreprocessSpec(
        resize=resize, shortest_edge=shortest_edge, resize_rounding=resize_rounding, crop_rounding=crop_rounding
    )


@pytest.mark.parametrize(
    ("resize", "edge", "picture", "target", "placement"),
    [
        (Resize.STRETCH, None, Size(640, 480), Size(20, 10), Placement(Size(20, 10), 0, 0)),
        (Resize.SHORTEST_EDGE, 256, Size(640, 480), Size(224, 224), Placement(Size(341, 256), -58, -16)),
        (Resize.SHORTEST_EDGE, 256, Size(480, 640), Size(224, 224), Placement(Size(256, 341), -16, -58)),
        (Resize.SHORTEST_EDGE, None, Size(640, 480), Size(224, 224), Placement(Size(298, 224), -37, 0)),
        (Resize.SHORTEST_EDGE, None, Size(600, 300), Size(100, 50), Placement(Size(100, 50), 0, 0)),
        (Resize.SHORTEST_EDGE, 10, Size(30, 10), Size(20, 20), Placement(Size(30, 10), -5, 5)),
        (Resize.LETTERBOX, None, Size(1280, 720), Size(640, 640), Placement(Size(640, 360), 0, 140)),
        (Resize.LETTERBOX, None, Size(720, 1280), Size(640, 640), Placement(Size(360, 640), 140, 0)),
        (Resize.LONGEST_EDGE, None, Size(1280, 720), Size(1024, 1024), Placement(Size(1024, 576), 0, 0)),
        (Resize.LETTERBOX, None, Size(10_000, 1), Size(32, 32), Placement(Size(32, 1), 0, 15)),
    ],
)
def test_place_equals_the_frameworks(
    resize: Resize, edge: int | None, picture: Size, target: Size, placement: Placement
) -> None:
    assert place(picture, spec(resize, shortest_edge=edge), target) == placement


@pytest.mark.parametrize(
    ("rounding", "long", "offset"), [(Rounding.DOWN, 341, -58), (Rounding.NEAREST, 341, -58)], ids=str
)
def test_odd_margins_are_rounded_alike(rounding: Rounding, long: int, offset: int) -> None:
    """341 - 224 = 117: half of it is 58.5, which rounds to the even 58."""
    both = spec(Resize.SHORTEST_EDGE, shortest_edge=256, resize_rounding=rounding, crop_rounding=rounding)
    assert place(Size(640, 480), both, Size(224, 224)) == Placement(Size(long, 256), offset, -16)


def test_nearest_and_down_rounding_differ() -> None:
    """256 * 500 / 375 = 341.33, 256 * 1000 / 667 = 383.8; 383 - 224 = 159 and 384 - 224 = 160."""
    down = spec(Resize.SHORTEST_EDGE, shortest_edge=256)
    nearest = spec(
        Resize.SHORTEST_EDGE, shortest_edge=256, resize_rounding=Rounding.NEAREST, crop_rounding=Rounding.NEAREST
    )
    assert place(Size(1000, 667), down, Size(224, 224)) == Placement(Size(383, 256), -79, -16)
    assert place(Size(1000, 667), nearest, Size(224, 224)) == Placement(Size(384, 256), -80, -16)
    assert place(Size(383, 256), nearest, Size(224, 224)).left == -80, "79.5 rounds to the even 80"


@given(sizes, targets, st.integers(1, LARGEST_INPUT))
def test_shortest_edge_equals_torchvision(picture: Size, target: Size, edge: int) -> None:
    """torchvision.transforms.functional._compute_resized_output_size: `int(size * long / short)`."""
    short, long = sorted((picture.width, picture.height))
    new_short, new_long = edge, int(edge * long / short)
    expected = Size(new_short, new_long) if picture.width <= picture.height else Size(new_long, new_short)
    assert place(picture, spec(Resize.SHORTEST_EDGE, shortest_edge=edge), target).resized == expected


@given(sizes, targets, st.integers(1, LARGEST_INPUT))
def test_shortest_edge_rounded_to_nearest_equals_pythons_round(picture: Size, target: Size, edge: int) -> None:
    short, long = sorted((picture.width, picture.height))
    new_long = round(Fraction(edge * long, short))
    expected = Size(edge, new_long) if picture.width <= picture.height else Size(new_long, edge)
    nearest = spec(Resize.SHORTEST_EDGE, shortest_edge=edge, resize_rounding=Rounding.NEAREST)
    assert place(picture, nearest, target).resized == expected


@given(sizes, st.integers(1, LARGEST_INPUT))
def test_a_crop_starts_as_in_torchvision_and_hugging_face(picture: Size, side: int) -> None:
    """torchvision: `int(round((h - crop) / 2.0))`; Hugging Face: `(h - crop) // 2`."""
    target = Size(side, side)
    for rounding in Rounding:
        placement = place(picture, spec(Resize.SHORTEST_EDGE, crop_rounding=rounding), target)
        rest = Size(placement.resized.width - side, placement.resized.height - side)
        expected = (to_int[rounding](Fraction(rest.width, 2)), to_int[rounding](Fraction(rest.height, 2)))
        assert (-placement.left, -placement.top) == expected


@given(sizes, targets, roundings, roundings)
def test_letterbox_equals_exact_arithmetic(picture: Size, target: Size, resize: Rounding, crop: Rounding) -> None:
    ratio = min(Fraction(target.width, picture.width), Fraction(target.height, picture.height))
    width, height = (max(1, to_int[resize](side * ratio)) for side in (picture.width, picture.height))
    left, top = (target.width - width) // 2, (target.height - height) // 2
    letterbox = spec(Resize.LETTERBOX, resize_rounding=resize, crop_rounding=crop)
    assert place(picture, letterbox, target) == Placement(Size(width, height), left, top)


@given(sizes, targets, st.builds(Size, st.integers(1, LARGEST_INPUT), st.integers(1, LARGEST_INPUT)))
def test_cover_equals_timms_resize_keep_ratio(picture: Size, target: Size, scaled: Size) -> None:
    """timm's `ResizeKeepRatio`: sides are divided by the smaller of two ratios, and rounded (halves: see below)."""
    ratio = min(Fraction(picture.width, scaled.width), Fraction(picture.height, scaled.height))
    cover = PreprocessSpec(
        resize=Resize.COVER, resize_size=(scaled.height, scaled.width), resize_rounding=Rounding.NEAREST
    )
    resized = place(picture, cover, target).resized
    assert resized == Size(round(picture.width / ratio), round(picture.height / ratio))
    assert resized.width >= scaled.width
    assert resized.height >= scaled.height


@pytest.mark.parametrize(
    ("picture", "rectangle", "placement"),
    [
        (Size(810, 1080), Size(480, 640), Placement(Size(480, 640), 0, 0)),
        (Size(1280, 720), Size(640, 384), Placement(Size(640, 360), 0, 12)),
        (Size(451, 300), Size(640, 448), Placement(Size(640, 426), 0, 11)),
        (Size(1000, 333), Size(640, 224), Placement(Size(640, 213), 0, 5)),
        (Size(640, 640), Size(640, 640), Placement(Size(640, 640), 0, 0)),
        (Size(1, 1), Size(640, 640), Placement(Size(640, 640), 0, 0)),
        (Size(3000, 20), Size(640, 32), Placement(Size(640, 4), 0, 14)),
    ],
)
def test_a_letterbox_with_a_divisor_is_the_least_rectangle(
    picture: Size, rectangle: Size, placement: Placement
) -> None:
    """Ultralytics' `LetterBox(auto=True)`."""
    spec = PreprocessSpec(size=(640, 640), resize=Resize.LETTERBOX, resize_rounding=Rounding.NEAREST, size_divisor=32)
    assert input_size(picture, spec) == rectangle
    assert place(picture, spec, rectangle) == placement


@pytest.mark.parametrize(
    ("picture", "size"),
    [
        (Size(640, 480), Size(686, 518)),  # the height is nearer to 518
        (Size(4000, 3000), Size(686, 518)),
        (Size(3000, 4000), Size(518, 686)),
        (Size(100, 50), Size(518, 252)),  # fits the width, as the least enlargement
        (Size(6000, 1000), Size(2072, 350)),  # at most longest_edge
        (Size(3000, 20), Size(518, 14)),
        (Size(1, 1), Size(518, 518)),
    ],
)
def test_keep_aspect_ratio_scales_as_little_as_possible(picture: Size, size: Size) -> None:
    """transformers' DPTImageProcessor with keep_aspect_ratio and ensure_multiple_of."""
    spec = PreprocessSpec(
        size=(518, 518),
        resize=Resize.KEEP_ASPECT_RATIO,
        longest_edge=2072,
        size_divisor=14,
        size_rounding=Rounding.NEAREST,
    )
    assert input_size(picture, spec) == size
    assert place(picture, spec, size) == Placement(size, 0, 0)


@pytest.mark.parametrize(
    ("rounding", "size"),
    [(Rounding.DOWN, Size(1056, 800)), (Rounding.UP, Size(1088, 800)), (Rounding.NEAREST, Size(1056, 800))],
)
def test_bounded_sides_are_multiples_of_the_divisor(rounding: Rounding, size: Size) -> None:
    """640 x 480 is scaled to 1066 x 800."""
    spec = PreprocessSpec(
        resize=Resize.BOUNDED, shortest_edge=800, longest_edge=1333, size_divisor=32, size_rounding=rounding
    )
    assert input_size(Size(640, 480), spec) == size
    assert input_size(size, spec) == size


def test_a_bounded_picture_is_padded_in_a_given_size() -> None:
    spec = PreprocessSpec(size=(800, 800), resize=Resize.BOUNDED, shortest_edge=600, longest_edge=800)
    assert place(Size(640, 480), spec, Size(800, 800)) == Placement(Size(800, 600), 0, 0)
    larger = PreprocessSpec(size=(400, 400), resize=Resize.BOUNDED, shortest_edge=600)
    assert place(Size(640, 480), larger, Size(400, 400)) == Placement(Size(400, 300), 0, 0)


@given(sizes, targets, roundings)
def test_longest_edge_is_the_letterbox_in_the_corner(picture: Size, target: Size, rounding: Rounding) -> None:
    corner = place(picture, spec(Resize.LONGEST_EDGE, resize_rounding=rounding), target)
    centre = place(picture, spec(Resize.LETTERBOX, resize_rounding=rounding), target)
    assert corner == Placement(centre.resized, 0, 0)


@given(sizes, targets, st.sampled_from((Resize.LETTERBOX, Resize.LONGEST_EDGE)), roundings)
def test_a_fitted_picture_lies_inside_and_touches_two_borders(
    picture: Size, target: Size, resize: Resize, rounding: Rounding
) -> None:
    placement = place(picture, spec(resize, resize_rounding=rounding, crop_rounding=rounding), target)
    right, bottom = placement.left + placement.resized.width, placement.top + placement.resized.height
    assert min(placement.resized.width, placement.resized.height, placement.left + 1, placement.top + 1) >= 1
    assert right <= target.width
    assert bottom <= target.height
    assert placement.resized.width == target.width or placement.resized.height == target.height


@given(sizes, targets, roundings)
def test_the_default_shortest_edge_covers_a_square_input(picture: Size, target: Size, rounding: Rounding) -> None:
    square = Size(target.width, target.width)
    placement = place(picture, spec(Resize.SHORTEST_EDGE, resize_rounding=rounding, crop_rounding=rounding), square)
    assert placement.left <= 0
    assert placement.top <= 0
    assert placement.left + placement.resized.width >= square.width
    assert placement.top + placement.resized.height >= square.height


@given(sizes, targets, modes, edges, roundings, roundings)
def test_a_picture_is_centred_or_in_the_corner(
    picture: Size, target: Size, resize: Resize, edge: int | None, resized: Rounding, crop: Rounding
) -> None:
    placement = place(picture, spec(resize, shortest_edge=edge, resize_rounding=resized, crop_rounding=crop), target)
    if resize is Resize.LONGEST_EDGE:
        return
    right = target.width - placement.left - placement.resized.width
    below = target.height - placement.top - placement.resized.height
    assert abs(placement.left - right) <= 1
    assert abs(placement.top - below) <= 1


@given(sizes, targets, modes, edges, roundings, roundings, st.sampled_from((1, 2, 4, 8)))
def test_visible_lies_inside_input_and_source_and_covers_their_overlap(
    picture: Size, target: Size, resize: Resize, edge: int | None, resized: Rounding, crop: Rounding, scale: int
) -> None:
    placement = place(picture, spec(resize, shortest_edge=edge, resize_rounding=resized, crop_rounding=crop), target)
    axes = (
        (placement.left, placement.resized.width, target.width, picture.width),
        (placement.top, placement.resized.height, target.height, picture.height),
    )
    for offset, length, side, original in axes:
        decoded = -(-original // scale)
        span = visible(offset, length, side, decoded)
        covered = set(range(max(0, offset), min(side, offset + length)))
        assert set(range(span.start, span.start + span.length)) == covered
        assert covered
        assert 0 <= span.source_start < span.source_stop <= decoded
        per_pixel = Fraction(decoded, length)
        assert span.source_start == pytest.approx(float((span.start - offset) * per_pixel))
        assert span.source_stop == pytest.approx(float((span.start + span.length - offset) * per_pixel))


@pytest.mark.parametrize(
    ("offset", "resized", "target", "source", "span"),
    [
        (-16, 256, 224, 512, (0, 224, 32.0, 480.0)),
        (0, 224, 224, 100, (0, 224, 0.0, 100.0)),
        (140, 360, 640, 720, (140, 360, 0.0, 720.0)),
    ],
    ids=["cropped", "whole", "padded"],
)
def test_visible_of_known_axes(
    offset: int, resized: int, target: int, source: int, span: tuple[int, int, float, float]
) -> None:
    found = visible(offset, resized, target, source)
    assert (found.start, found.length, found.source_start, found.source_stop) == span
