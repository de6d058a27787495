"""NaN and infinity in outputs are errors of every task and precision, and never `null` in JSON."""

import base64
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest
from numpy.typing import NDArray

from engine.tasks.predictions import OutputTensor
from engine.tasks.task import InvalidOutputError, PredictOptions
from loaders.images.base import Size
from loaders.repository.specs.model_spec import Activation, Head, ModelSpec, Resize, TaskName
from tests.engine.tasks.graphs import LAYOUTS, Outputs, Thing, answer, frame_of, yolo_masks

FRAME = frame_of(Size(40, 30), Resize.STRETCH)
THINGS = [Thing((8, 8, 24, 24), 1, 0.9)]
NOT_FINITE = [math.nan, math.inf, -math.inf]
CLASSIFICATION, EMBEDDING, TENSOR = (
    TaskName.IMAGE_CLASSIFICATION,
    TaskName.IMAGE_FEATURE_EXTRACTION,
    TaskName.TENSOR,
)


def filled(value: float, *shape: int, dtype: str = "float32") -> NDArray[Any]:
    """Numbers, one of them replaced by `value`."""
    array = np.linspace(0.1, 0.9, math.prod(shape)).reshape(shape).astype(dtype)
    array.flat[array.size // 2] = value
    return array


@pytest.mark.parametrize("value", NOT_FINITE)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_detectors_reject_nan_and_infinity_in_every_output(tmp_path: Path, layout: str, value: float) -> None:
    head, make = LAYOUTS[layout]
    good = make(THINGS)
    assert answer(tmp_path, good, ModelSpec(task=TaskName.OBJECT_DETECTION, head=head), FRAME)
    for name, array in good.items():
        if array.dtype.kind != "f":
            continue
        bad = array.copy()
        bad.flat[bad.size // 2] = value
        with pytest.raises(InvalidOutputError, match="not finite"):
            answer(tmp_path, good | {name: bad}, ModelSpec(task=TaskName.OBJECT_DETECTION, head=head), FRAME)


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
@pytest.mark.parametrize("value", [math.nan, math.inf])
@pytest.mark.parametrize(
    ("task", "head", "shape"),
    [
        (CLASSIFICATION, None, (1, 8)),
        (EMBEDDING, None, (1, 8)),
        (EMBEDDING, None, (1, 1, 8)),
        (EMBEDDING, None, (1, 8, 3, 3)),
        (TaskName.IMAGE_SEGMENTATION, Head.SEMANTIC, (1, 3, 8, 8)),
        (TaskName.IMAGE_SEGMENTATION, Head.MATTE, (1, 1, 8, 8)),
        (TaskName.OBJECT_DETECTION, Head.YOLO_OBB, (1, 8, 6)),
        (TaskName.KEYPOINT_DETECTION, Head.YOLO_POSE, (1, 56, 6)),
        (TaskName.DEPTH_ESTIMATION, None, (1, 8, 8)),
        (TaskName.DEPTH_ESTIMATION, None, (1, 1, 8, 8)),
        (TENSOR, None, (2, 4)),
    ],
)
def test_every_task_and_precision_rejects_nan_and_infinity(
    tmp_path: Path, task: TaskName, head: Head | None, shape: tuple[int, ...], value: float, dtype: str
) -> None:
    outputs: Outputs = {"out": filled(value, *shape, dtype=dtype)}
    if len(shape) == 3:
        outputs["out"][0, 0, 0] = value  # in the class token
    with pytest.raises(InvalidOutputError, match=r"not finite|NaN"):
        answer(tmp_path, outputs, ModelSpec(task=task, head=head), FRAME)


@pytest.mark.parametrize(("task", "shape"), [(CLASSIFICATION, (1, 8)), (EMBEDDING, (1, 8))])
def test_a_double_beyond_float32_is_rejected(tmp_path: Path, task: TaskName, shape: tuple[int, ...]) -> None:
    with pytest.raises(InvalidOutputError, match="not finite"):
        answer(tmp_path, {"out": filled(1e300, *shape, dtype="float64")}, ModelSpec(task=task), FRAME)


def test_a_raw_tensor_keeps_doubles_beyond_float32(tmp_path: Path) -> None:
    [found] = answer(tmp_path, {"out": np.array([[1e300, -1e300]])}, ModelSpec(task=TENSOR), FRAME)
    assert isinstance(found, OutputTensor)
    assert found.data == [1e300, -1e300]
    assert json.loads(orjson.dumps(found))["data"] == [1e300, -1e300]


@pytest.mark.parametrize(
    ("activation", "logits", "scores"),
    [
        (Activation.SOFTMAX, [0.0, -math.inf, 0.0], [0.5, 0.5, 0.0]),
        (Activation.SIGMOID, [math.inf, -math.inf, 0.0], [1.0, 0.5, 0.0]),
    ],
)
def test_infinite_logits_give_scores_of_0_or_1(
    tmp_path: Path, activation: Activation, logits: list[float], scores: list[float]
) -> None:
    """A graph may mask classes by minus infinity: the scores are checked, not the logits."""
    spec = ModelSpec(task=CLASSIFICATION, activation=activation)
    found = answer(tmp_path, {"out": np.array([logits], np.float32)}, spec, FRAME)
    assert [p.score for p in found] == scores  # type: ignore[union-attr]  # classifications all


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_base64_keeps_every_bit_of_a_raw_tensor(tmp_path: Path, dtype: str) -> None:
    """Including the payload of a NaN and a negative zero."""
    array = np.array([math.nan, math.inf, -math.inf, -0.0, 1], dtype)
    array[:1].view(f"u{array.itemsize}")[0] |= 5
    spec, options = ModelSpec(task=TENSOR), PredictOptions(encoding="base64")
    [found] = answer(tmp_path, {"out": array}, spec, FRAME, options)
    assert isinstance(found, OutputTensor)
    assert base64.b64decode(str(found.data)) == array.tobytes()


def test_overflows_of_finite_outputs_are_rejected(tmp_path: Path) -> None:
    spec = ModelSpec(task=TaskName.OBJECT_DETECTION, head=Head.YOLOV5)
    rows = np.array([[[32, 32, 8, 8, 3e38, 3e38, 0, 0]]], np.float32)
    with pytest.raises(InvalidOutputError, match="not finite"):
        answer(tmp_path, {"out": rows}, spec, FRAME)
    masks = yolo_masks(THINGS, np.full((1, 2), 3e38, np.float32), np.full((2, 16, 16), 3e38, np.float32))
    spec = ModelSpec(task=TaskName.IMAGE_SEGMENTATION, head=Head.YOLO_MASKS)
    with pytest.raises(InvalidOutputError, match="not finite"):
        answer(tmp_path, masks, spec, FRAME)
    rotated = np.array([[[3e38], [3e38], [3e38], [3e38], [0.9], [1]]], np.float32)
    spec = ModelSpec(task=TaskName.OBJECT_DETECTION, head=Head.YOLO_OBB)
    with pytest.raises(InvalidOutputError, match="not finite"):
        answer(tmp_path, {"out": rotated}, spec, frame_of(Size(400, 300), Resize.STRETCH))
    depth = np.array([[[3e38, -3e38]]], np.float32)
    with pytest.raises(InvalidOutputError, match="not finite"):
        answer(tmp_path, {"out": depth}, ModelSpec(task=TaskName.DEPTH_ESTIMATION), FRAME)
    matte = np.array([[[[3e38, -3e38]]]], np.float32)
    spec = ModelSpec(task=TaskName.IMAGE_SEGMENTATION, head=Head.MATTE)
    with pytest.raises(InvalidOutputError, match="not finite"):
        answer(tmp_path, {"out": matte}, spec, FRAME)
