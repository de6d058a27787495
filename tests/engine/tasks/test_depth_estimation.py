"""Depth maps: at the picture's size, without the padding. That values equal transformers' is in test_golden.py."""

import base64
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from engine.tasks import depth_estimation
from engine.tasks.predictions import DepthMap, DepthMapWithValues
from engine.tasks.task import PredictOptions
from loaders.images.base import Size
from loaders.repository.specs.model_spec import ModelSpec, Resize, TaskName
from tests.engine.tasks.graphs import answer, frame_of

SPEC = ModelSpec(task=TaskName.DEPTH_ESTIMATION)
# Rows of 64 x 64 outputs.
SLOPE = np.repeat(np.arange(64, dtype=np.float32)[None, :, None], 64, axis=2)


def depth_of(
    folder: Path, plane: NDArray[np.float32], picture: Size, resize: Resize
) -> tuple[DepthMap, NDArray[np.uint16]]:
    (found,) = answer(folder, {"depth": plane}, SPEC, frame_of(picture, resize))
    assert isinstance(found, DepthMap)
    image = cv2.imdecode(np.frombuffer(base64.b64decode(found.depth), np.uint8), cv2.IMREAD_UNCHANGED)
    return found, np.asarray(image, np.uint16)


@pytest.mark.parametrize("shape", [(1, 64, 64), (1, 1, 64, 64)])
def test_a_depth_map_has_the_size_of_the_picture(tmp_path: Path, shape: tuple[int, ...]) -> None:
    found, image = depth_of(tmp_path, SLOPE.reshape(shape), Size(30, 50), Resize.STRETCH)
    assert image.shape == (50, 30)
    assert (image.min(), image.max()) == (0, 65535)
    assert (found.minimum, found.maximum) == pytest.approx((0, 63), abs=0.5)
    assert not isinstance(found, DepthMapWithValues)


def test_padding_is_no_part_of_the_depth_map(tmp_path: Path) -> None:
    """200 x 100 fills rows 16 to 48 of the input."""
    found, image = depth_of(tmp_path, SLOPE, Size(200, 100), Resize.LETTERBOX)
    assert image.shape == (100, 200)
    assert (found.minimum, found.maximum) == pytest.approx((16, 47), abs=0.5)


def test_cropped_margins_are_black(tmp_path: Path) -> None:
    """Of 200 x 100, the input shows columns 50 to 150."""
    _, image = depth_of(tmp_path, SLOPE.transpose(0, 2, 1) + 1, Size(200, 100), Resize.SHORTEST_EDGE)
    assert not image[:, :50].any()
    assert not image[:, 150:].any()
    assert (np.diff(image[50, 51:150].astype(np.int32)) > 0).all()


def test_a_constant_depth_map_is_black(tmp_path: Path) -> None:
    found, image = depth_of(tmp_path, SLOPE * 0 + 3, Size(30, 50), Resize.STRETCH)
    assert not image.any()
    assert (found.minimum, found.maximum) == pytest.approx((3, 3))


def test_large_pictures_are_computed_smaller(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(depth_estimation, "MAX_DEPTH_PIXELS", 5000)
    options = PredictOptions(predicted_depth=True)
    (found,) = answer(tmp_path, {"depth": SLOPE}, SPEC, frame_of(Size(200, 100), Resize.STRETCH), options)
    assert isinstance(found, DepthMapWithValues)
    assert found.predicted_depth.shape == [50, 100]
    image = cv2.imdecode(np.frombuffer(base64.b64decode(found.depth), np.uint8), cv2.IMREAD_UNCHANGED)
    assert np.asarray(image).shape == (100, 200)
