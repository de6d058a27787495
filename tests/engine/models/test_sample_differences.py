"""Differences of predictions from those of a framework: 0 for equal ones, and a sentence for the largest."""

import base64
from dataclasses import dataclass, replace
from io import BytesIO
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from engine.models.sample_differences import Difference, prediction_difference
from engine.tasks.predictions import Box, Classification, Detection, Embedding, FaceDetection, Prediction, Segment
from loaders.images.base import Size
from loaders.repository.samples import ExpectedPrediction
from tools.record_samples import map_summary

PICTURE = Size(200, 100)
THRESHOLD = 0.25
DOG = Detection("dog", 1, 0.9, Box(10, 20, 50, 60))
CAT = Detection("cat", 2, 0.4, Box(100, 20, 150, 90))


def difference(expected: list[dict[str, Any]], found: list[Prediction]) -> Difference:
    theirs = [ExpectedPrediction.model_validate(one) for one in expected]
    return prediction_difference(theirs, found, PICTURE, THRESHOLD)


def box(detection: Detection, **changed: object) -> dict[str, Any]:
    corners = {name: getattr(detection.box, name) for name in ("xmin", "ymin", "xmax", "ymax")}
    return {
        "class_id": detection.class_id,
        "label": detection.label,
        "score": detection.score,
        "box": corners,
    } | changed


def png(pixels: NDArray[Any]) -> str:
    buffer = BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return base64.b64encode(buffer.getvalue()).decode()


def disc(left: int) -> NDArray[np.uint8]:
    mask = np.zeros((PICTURE.height, PICTURE.width), np.uint8)
    mask[20:80, left : left + 60] = 255
    return mask


def test_equal_objects_in_any_order_have_no_difference() -> None:
    assert difference([box(DOG), box(CAT)], [CAT, DOG]).size == 0


@pytest.mark.parametrize(
    ("expected", "found", "size", "text"),
    [
        ([box(DOG)], [replace(DOG, score=0.7)], 0.2, "the score of 'dog' is 0.7000, the framework's is 0.9000"),
        ([box(DOG)], [replace(DOG, box=Box(14, 20, 50, 60))], 0.02, "the box of 'dog' is shifted by 4.0 pixels"),
        ([box(DOG), box(CAT)], [DOG], 0.15, "'cat' was not found (score 0.4000)"),
        ([box(DOG)], [DOG, CAT], 0.15, "found 'cat' (score 0.4000), not expected"),
        ([box(DOG)], [replace(DOG, class_id=3, label="fox")], 0.65, "'dog' was not found"),
        ([box(DOG)], [replace(DOG, box=CAT.box)], 0.65, "'dog' was not found"),
        ([], [CAT], 0.15, "found 'cat'"),
        ([box(CAT)], [], 0.15, "'cat' was not found"),
        ([box(replace(CAT, score=0.26))], [], 0.01, "was not found"),
    ],
    ids=["score", "box", "missing", "surplus", "class", "place", "none expected", "none found", "at the threshold"],
)
def test_objects_differ_by_score_box_and_number(
    expected: list[dict[str, Any]], found: list[Prediction], size: float, text: str
) -> None:
    worst = difference(expected, found)
    assert worst.size == pytest.approx(size)
    assert text in worst.text


def test_each_object_is_matched_with_the_nearest() -> None:
    """Two of a class, one within the other."""
    inner = replace(DOG, score=0.6, box=Box(20, 30, 40, 50))
    assert difference([box(DOG), box(inner)], [inner, DOG]).size == 0


def test_points_differ_by_their_shift() -> None:
    face = FaceDetection("face", 0, 0.9, DOG.box, tuple((20.0 + i, 30.0) for i in range(5)))
    points = [[20 + i, 30] for i in range(5)]
    assert difference([box(face, points=points)], [face]).size == 0
    points[2][1] += 8
    worst = difference([box(face, points=points)], [face])
    assert worst.size == pytest.approx(0.04)
    assert worst.text == "a point of 'face' is shifted by 8.0 pixels"


def test_the_corners_of_a_rotated_box_may_begin_with_any() -> None:
    @dataclass(frozen=True)
    class Rotated(Detection):
        corners: tuple[tuple[float, float], ...]

    corners = ((10.0, 40.0), (30.0, 20.0), (50.0, 40.0), (30.0, 60.0))
    found = Rotated("ship", 1, 0.9, DOG.box, corners)
    for order in (corners, corners[2:] + corners[:2], corners[::-1]):
        assert difference([box(found, points=order)], [found]).size == 0


def test_masks_differ_by_their_area() -> None:
    found = Segment("sky", 1, None, png(disc(50)))
    assert difference([{"class_id": 1, "mask": map_summary(disc(50))}], [found]).size == 0
    moved = difference([{"class_id": 1, "mask": map_summary(disc(60))}], [found])
    assert moved.size == pytest.approx(2 * 60 * 10 / PICTURE.pixels, abs=0.002)
    lost = difference([{"class_id": 1, "mask": map_summary(disc(50))}], [])
    assert lost.size == pytest.approx(60 * 60 / PICTURE.pixels, abs=1e-4)
    surplus = difference([], [found])
    assert surplus.size == pytest.approx(60 * 60 / PICTURE.pixels, abs=1e-4)


@pytest.mark.parametrize(
    ("expected", "size"), [([3.0, 4.0], 0), ([3.0, 4.5], 0.0924), ([3.0, 4.0, 0.0], 1)], ids=["same", "near", "length"]
)
def test_vectors_differ_by_their_distance(expected: list[float], size: float) -> None:
    worst = difference([{"embedding": expected}], [Embedding([3.0, 4.0], 2, "list")])
    assert worst.size == pytest.approx(size, abs=1e-3)


def test_depth_is_compared_over_its_range() -> None:
    @dataclass(frozen=True)
    class Depth:
        depth: str

    slope = np.linspace(0, 1, PICTURE.width)[None].repeat(PICTURE.height, 0)
    found: Any = Depth(png((slope * 65535).astype(np.uint16)))
    assert difference([{"depth": map_summary(slope)}], [found]).size < 0.003
    assert difference([{"depth": map_summary(slope[:, ::-1])}], [found]).size == pytest.approx(0.5, abs=0.01)


def test_texts_are_equal_or_not() -> None:
    @dataclass(frozen=True)
    class Text:
        generated_text: str

    found: Any = Text("HELLO")
    assert difference([{"generated_text": "HELLO"}], [found]).size == 0
    worst = difference([{"generated_text": "HALLO"}], [found])
    assert (worst.size, worst.text) == (1, "the text is 'HELLO', the framework's 'HALLO'")


def test_answers_of_another_kind_are_a_difference() -> None:
    assert difference([{"embedding": [1.0]}], [Classification("a", 0, 0.5)]).size == 1
    assert difference([{"class_id": 0, "score": 0.5}], [Embedding([1.0], 1, "list")]).size > 0
