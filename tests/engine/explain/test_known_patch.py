"""A graph whose score is the mean of a patch: the heat map's peak lies in the patch, wherever it is in the picture."""

from pathlib import Path

import numpy as np
import pytest

from engine.explain.explainer import Method
from engine.explain.target import TargetQuery
from engine.preprocessing.geometry import Frame
from loaders.images.base import Size
from tests.engine.explain.explaining import explain, loaded
from tests.engine.explain.patch_models import SIDE, patch_graph
from tests.pictures import Pixels, encode, rotated_twin

ROWS, COLUMNS = (30, 38), (14, 22)  # the patch, in the input's pixels
LABELS = ("patch", "rest")
SPEC = f"""
task = "image-classification"
activation = "softmax"

[preprocess]
size = [{SIDE}, {SIDE}]
mean = [0.0]
std = [1.0]
"""
RESIZES = {
    "stretch": 'resize = "stretch"',
    "letterbox": 'resize = "letterbox"',
    "centre crop": 'resize = "shortest-edge"',
    "longest edge": 'resize = "longest-edge"',
    "channels last": 'resize = "stretch"\nlayout = "NHWC"',
    "halves": 'resize = "stretch"\ndtype = "float16"',
    "bytes": 'resize = "stretch"\ndtype = "uint8"\nrescale_factor = 1.0',
}
DTYPES = {"halves": "float16", "bytes": "uint8"}


def patch_in(frame: Frame) -> tuple[int, int, int, int]:
    """Left, top, right and bottom of the patch in the picture."""
    box = frame.to_picture(np.array([[COLUMNS[0], ROWS[0], COLUMNS[1], ROWS[1]]], np.float32))[0]
    left, top, right, bottom = (round(float(edge)) for edge in box)
    return left, top, right, bottom


def with_bright_squares(size: Size, patch: tuple[int, int, int, int]) -> Pixels:
    """A dark picture with the patch in white, and white squares that the model ignores."""
    pixels = np.full((size.height, size.width, 3), 30, np.uint8)
    left, top, right, bottom = patch
    width, height = right - left, bottom - top
    for x, y in ((left, top), (left + 2 * width, top), (left, max(0, top - 2 * height)), (0, 0)):
        pixels[y : y + height, x : x + width] = 255
    return pixels


@pytest.mark.parametrize("method", Method)
@pytest.mark.parametrize("resize", RESIZES)
@pytest.mark.parametrize("size", [Size(210, 120), Size(90, 160)], ids=["wide", "high"])
def test_the_peak_lies_in_the_patch(tmp_path: Path, size: Size, resize: str, method: Method) -> None:
    layout = "NHWC" if resize == "channels last" else "NCHW"
    graph = patch_graph(ROWS, COLUMNS, layout=layout, dtype=DTYPES.get(resize, "float32"))
    model = loaded(tmp_path, graph, SPEC + RESIZES[resize], LABELS)
    left, top, right, bottom = patch = patch_in(model.preprocessor.frame(size))
    found = explain(model, encode(with_bright_squares(size, patch), "PNG"), TargetQuery("patch"), method)
    x, y = found.heat_map.peak
    assert left <= x < right
    assert top <= y < bottom
    assert found.heat_map.maximum > 0
    assert found.complete


@pytest.mark.parametrize("orientation", range(2, 9))
def test_the_peak_is_in_the_upright_picture(tmp_path: Path, orientation: int) -> None:
    size = Size(210, 120)
    model = loaded(tmp_path, patch_graph(ROWS, COLUMNS), SPEC + RESIZES["letterbox"], LABELS)
    left, top, right, bottom = patch = patch_in(model.preprocessor.frame(size))
    data = rotated_twin(with_bright_squares(size, patch), "PNG", orientation)
    found = explain(model, data, TargetQuery("patch"))
    x, y = found.heat_map.peak
    assert left <= x < right
    assert top <= y < bottom
    assert found.heat_map.levels().shape == (size.height, size.width)


def test_a_cropped_border_is_not_heated(tmp_path: Path) -> None:
    size = Size(210, 120)
    model = loaded(tmp_path, patch_graph(ROWS, COLUMNS), SPEC + RESIZES["centre crop"], LABELS)
    data = encode(with_bright_squares(size, patch_in(model.preprocessor.frame(size))), "PNG")
    levels = explain(model, data, TargetQuery("patch")).heat_map.levels()
    assert levels.max() == 255
    assert not levels[:, :45].any()
    assert not levels[:, -45:].any()


def test_what_speaks_against_a_label_is_not_heated(tmp_path: Path) -> None:
    """The other label's score falls by showing the patch."""
    size = Size(SIDE, SIDE)
    model = loaded(tmp_path, patch_graph(ROWS, COLUMNS), SPEC + RESIZES["stretch"], LABELS)
    patch = patch_in(model.preprocessor.frame(size))
    found = explain(model, encode(with_bright_squares(size, patch), "PNG"), TargetQuery("rest"))
    assert found.heat_map.minimum < -0.01
    assert not found.heat_map.levels()[slice(*ROWS), slice(*COLUMNS)].any()
