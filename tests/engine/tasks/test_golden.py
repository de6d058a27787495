"""Predictions from raw outputs equal those of transformers and Ultralytics. See `make_golden.py`."""

import base64
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from engine.preprocessing.geometry import Frame, place
from engine.tasks import create_task
from engine.tasks.predictions import (
    DepthMapWithValues,
    InstanceSegment,
    KeypointDetection,
    OrientedDetection,
    Prediction,
    Segment,
)
from engine.tasks.task import PredictOptions
from loaders.images.base import Size
from loaders.repository.specs.model_spec import Activation, Head, ModelSpec, PreprocessSpec, Resize, Rounding, TaskName

GOLDEN = Path(__file__).with_name("golden")
PICTURES = {"landscape": Size(200, 120), "portrait": Size(90, 150), "small": Size(40, 31)}
TARGET = Size(96, 96)
LABELS = ("a", "b", "c")
NAMES = ("v", "w", "x", "y", "z")
ALL = PredictOptions(top_k=1000, predicted_depth=True)

Arrays = dict[str, NDArray[np.float32]]


def golden(name: str, picture: str) -> tuple[Arrays, Arrays]:
    """Outputs of a graph, and the framework's answers."""
    with np.load(GOLDEN / f"{name}.npz") as arrays:
        outputs = {key: arrays[key] for key in arrays if ":" not in key}
        return outputs, {key.split(":")[1]: arrays[key] for key in arrays if key.startswith(picture)}


def frame_of(picture: str, resize: Resize) -> Frame:
    spec = PreprocessSpec(resize=resize, resize_rounding=Rounding.NEAREST)
    return Frame(PICTURES[picture], place(PICTURES[picture], spec, TARGET), TARGET)


def predicted(outputs: Arrays, spec: ModelSpec, picture: str, resize: Resize = Resize.STRETCH) -> list[Prediction]:
    return create_task(spec).postprocess(outputs, frame_of(picture, resize), ALL)


def unpacked(image: str) -> NDArray[np.uint8] | NDArray[np.uint16]:
    return cv2.imdecode(np.frombuffer(base64.b64decode(image), np.uint8), cv2.IMREAD_UNCHANGED)  # type: ignore[return-value]  # the stubs are wider


@pytest.mark.parametrize("picture", PICTURES)
@pytest.mark.parametrize("name", ["pose", "pose-end-to-end"])
def test_keypoints_equal_ultralytics(name: str, picture: str) -> None:
    outputs, expected = golden(name, picture)
    spec = ModelSpec(
        task=TaskName.KEYPOINT_DETECTION,
        head=Head.YOLO_POSE,
        labels=LABELS,
        keypoint_shape=(5, 3),
        keypoint_names=NAMES,
    )
    found = [p for p in predicted(outputs, spec, picture, Resize.LETTERBOX) if isinstance(p, KeypointDetection)]
    boxes = expected["rows"]
    visible = (boxes[:, 2] > boxes[:, 0]) & (boxes[:, 3] > boxes[:, 1])
    assert len(found) == visible.sum() > 20
    rows = [[p.box.xmin, p.box.ymin, p.box.xmax, p.box.ymax, p.score, p.class_id] for p in found]
    np.testing.assert_allclose(rows, boxes[visible], atol=0.006)
    points = [[[point.x, point.y, point.score] for point in p.keypoints] for p in found]
    np.testing.assert_allclose(np.array(points, np.float64), expected["keypoints"][visible], atol=0.006)
    assert [point.name for point in found[0].keypoints] == list(NAMES)


@pytest.mark.parametrize("picture", PICTURES)
@pytest.mark.parametrize("name", ["obb", "obb-end-to-end"])
def test_rotated_boxes_equal_ultralytics(name: str, picture: str) -> None:
    outputs, expected = golden(name, picture)
    spec = ModelSpec(task=TaskName.OBJECT_DETECTION, head=Head.YOLO_OBB, labels=LABELS)
    found = [p for p in predicted(outputs, spec, picture, Resize.LETTERBOX) if isinstance(p, OrientedDetection)]
    edges = [PICTURES[picture].width, PICTURES[picture].height]
    corners = np.clip(expected["corners"], 0, edges)
    visible = (np.ptp(corners, axis=1) > 0).all(axis=1)
    assert len(found) == visible.sum() > 20
    rows = [[p.score, p.class_id, p.angle] for p in found]
    np.testing.assert_allclose(rows, expected["rows"][visible], atol=1e-5)
    np.testing.assert_allclose([p.corners for p in found], expected["corners"][visible], atol=0.006)
    boxes = [[p.box.xmin, p.box.ymin, p.box.xmax, p.box.ymax] for p in found]
    enclosing = np.concatenate([corners[visible].min(axis=1), corners[visible].max(axis=1)], axis=1)
    np.testing.assert_allclose(boxes, enclosing, atol=0.006)


@pytest.mark.parametrize("picture", PICTURES)
def test_instance_masks_equal_ultralytics(picture: str) -> None:
    outputs, expected = golden("masks", picture)
    spec = ModelSpec(task=TaskName.IMAGE_SEGMENTATION, head=Head.YOLO_MASKS, labels=LABELS)
    found = [p for p in predicted(outputs, spec, picture, Resize.LETTERBOX) if isinstance(p, InstanceSegment)]
    assert len(found) == len(expected["rows"]) > 20
    rows = np.array([[p.box.xmin, p.box.ymin, p.box.xmax, p.box.ymax, p.score, p.class_id] for p in found], np.float64)
    np.testing.assert_allclose(rows, expected["rows"], atol=0.006)
    masks = np.unpackbits(expected["masks"].astype(np.uint8), axis=-1, count=PICTURES[picture].width)
    wrong = [np.count_nonzero(unpacked(p.mask) // 255 != mask) for p, mask in zip(found, masks, strict=True)]
    assert sum(wrong) <= np.count_nonzero(masks) * 0.002


@pytest.mark.parametrize("picture", PICTURES)
def test_depth_equals_transformers(picture: str) -> None:
    outputs, expected = golden("depth", picture)
    (found,) = predicted(outputs, ModelSpec(task=TaskName.DEPTH_ESTIMATION), picture)
    assert isinstance(found, DepthMapWithValues)
    assert isinstance(found.predicted_depth.data, str)
    values = np.frombuffer(base64.b64decode(found.predicted_depth.data), "<f4").reshape(found.predicted_depth.shape)
    np.testing.assert_allclose(values, expected["predicted_depth"], atol=2e-5)
    assert (found.minimum, found.maximum) == pytest.approx((values.min(), values.max()))
    depth = unpacked(found.depth)
    assert depth.dtype == np.uint16
    np.testing.assert_allclose(depth / 65535, (values - values.min()) / np.ptp(values), atol=2 / 65535)


@pytest.mark.parametrize("picture", PICTURES)
@pytest.mark.parametrize("subtask", ["panoptic", "instance"])
@pytest.mark.parametrize("head", [Head.MASKFORMER, Head.MASK2FORMER])
def test_segments_equal_transformers(head: Head, subtask: str, picture: str) -> None:
    outputs, expected = golden(head, picture)
    spec = segmentation(head, subtask)
    found = [p for p in predicted(outputs, spec, picture) if isinstance(p, Segment)]
    info, masks = expected[f"{subtask}_info"], expected[subtask]
    best_first = np.argsort(-info[:, 2], kind="stable")
    assert len(found) > 1
    assert [p.class_id for p in found] == [int(class_id) for class_id in info[best_first, 1]]
    scores = np.array([p.score for p in found], np.float64)
    np.testing.assert_allclose(scores, info[best_first, 2], atol=2e-6)
    for segment, row in zip(found, best_first, strict=True):
        inside = masks[row] if subtask == "instance" else masks == info[row, 0]
        assert np.count_nonzero((unpacked(segment.mask) > 0) != inside) <= inside.size * 0.001


@pytest.mark.parametrize("picture", PICTURES)
@pytest.mark.parametrize("head", [Head.MASKFORMER, Head.MASK2FORMER])
def test_semantic_segments_of_queries_equal_transformers(head: Head, picture: str) -> None:
    outputs, expected = golden(head, picture)
    found = [p for p in predicted(outputs, segmentation(head, "semantic"), picture) if isinstance(p, Segment)]
    assert {p.class_id for p in found} == set(np.unique(expected["semantic"]))
    for segment in found:
        wrong = (unpacked(segment.mask) > 0) != (expected["semantic"] == segment.class_id)
        assert np.count_nonzero(wrong) <= wrong.size * 0.001


def segmentation(head: Head, subtask: str) -> ModelSpec:
    return ModelSpec.model_validate({
        "task": TaskName.IMAGE_SEGMENTATION, "head": head, "subtask": subtask, "labels": LABELS, "score_threshold": 0.5,
        "activation": Activation.NONE,
    })  # fmt: skip
