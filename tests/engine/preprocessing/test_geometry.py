"""Sizes and offsets, compared with the rules of each framework."""

from collections.abc import Callable
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.preprocessing.geometry import Placement, place, visible
from loaders.images.base import Size
from loaders.repository.specs.model_spec import PreprocessSpec, Resize, Rounding

LARGEST_PICTURE = 65_535
LARGEST_INPUT = 1_024

sides = st.integers(1, LARGEST_PICTURE)
sizes = st.builds(Size, sides, sides)
targets = st.builds(Size, st.integers(1, LARGEST_INPUT), st.integers(1, LARGEST_INPUT))
edges = st.one_of(st.none(), st.integers(1, LARGEST_INPUT))
roundings = st.sampled_from(Rounding)
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
        if rounding is Rounding.NEAREST:
            expected = (round(rest.width / 2.0), round(rest.height / 2.0))
        else:
            expected = (rest.width // 2, rest.height // 2)
        assert (-placement.left, -placement.top) == expected


@given(sizes, targets, roundings, roundings)
def test_letterbox_equals_exact_arithmetic(picture: Size, target: Size, resize: Rounding, crop: Rounding) -> None:
    ratio = min(Fraction(target.width, picture.width), Fraction(target.height, picture.height))
    rounded: dict[Rounding, Callable[[Fraction], int]] = {Rounding.DOWN: int, Rounding.NEAREST: round}
    width, height = (max(1, rounded[resize](side * ratio)) for side in (picture.width, picture.height))
    left, top = (rounded[crop](Fraction(space, 2)) for space in (target.width - width, target.height - height))
    letterbox = spec(Resize.LETTERBOX, resize_rounding=resize, crop_rounding=crop)
    assert place(picture, letterbox, target) == Placement(Size(width, height), left, top)


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
@settings(max_examples=300)
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
@settings(max_examples=300)
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
