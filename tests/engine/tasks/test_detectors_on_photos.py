"""PicoDet against annotations of PASCAL VOC, and YuNet against OpenCV's face detector."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from engine.models.loaded_model import LoadedModel
from engine.preprocessing.geometry import Frame, Placement
from engine.tasks import create_task
from engine.tasks.predictions import Box, Detection, FaceDetection, Prediction
from engine.tasks.task import PredictOptions
from loaders.images.base import Size
from loaders.model_loader import create_model_loader
from loaders.repository.specs.model_spec import Head, ModelSpec, TaskName
from loaders.runtimes.base import SessionOptions
from tests.engine.tasks.real_models import PHOTOS, YUNET, as_png, infer, load

FILES = ["2011_000003.jpg", "2011_000006.jpg", "2011_000025.jpg"]
# Measured on these photos: 0.735 to 0.982.
MIN_IOU = 0.7


@pytest.fixture(scope="module")
def picodet() -> LoadedModel:
    return load("picodet-s-416")


def detections(predictions: list[Prediction]) -> list[Detection]:
    assert all(isinstance(p, Detection) for p in predictions)
    return [p for p in predictions if isinstance(p, Detection)]


def annotated(file: str) -> list[tuple[str, Box]]:
    shapes = json.loads((PHOTOS / file).with_suffix(".json").read_text(encoding="utf-8"))["shapes"]
    return [(shape["label"], Box(*shape["points"][0], *shape["points"][1])) for shape in shapes]


def iou(one: Box, other: Box) -> float:
    width = min(one.xmax, other.xmax) - max(one.xmin, other.xmin)
    height = min(one.ymax, other.ymax) - max(one.ymin, other.ymin)
    shared = max(0, width) * max(0, height)
    return shared / (sum((b.xmax - b.xmin) * (b.ymax - b.ymin) for b in (one, other)) - shared)


@pytest.mark.parametrize("file", FILES)
def test_picodet_finds_every_annotated_object(file: str, picodet: LoadedModel) -> None:
    found = detections(infer(picodet, (PHOTOS / file).read_bytes()).predictions)
    assert all(d.score >= 0.4 for d in found)
    for label, box in annotated(file):
        assert max((iou(d.box, box) for d in found if d.label == label), default=0) >= MIN_IOU


def test_there_are_nine_annotated_objects() -> None:
    assert sum(len(annotated(file)) for file in FILES) == 9


@pytest.mark.parametrize("file", FILES)
def test_a_picture_rotated_by_exif_has_the_same_boxes(file: str, picodet: LoadedModel) -> None:
    data = (PHOTOS / file).read_bytes()
    upright, rotated = infer(picodet, as_png(data)), infer(picodet, as_png(data, rotated_by_exif=True))
    assert rotated.picture.info.orientation == 6
    assert rotated.predictions == upright.predictions != []


def yunet_spec(**fields: object) -> ModelSpec:
    spec = {"task": TaskName.OBJECT_DETECTION, "head": Head.YUNET, "score_threshold": 0.5, "iou_threshold": 0.3}
    return ModelSpec.model_validate({**spec, **fields})


def faces_of(file: Path, spec: ModelSpec) -> list[FaceDetection]:
    """With the input of OpenCV's detector: BGR, 640 x 640."""
    session = create_model_loader("onnxruntime").load(YUNET, SessionOptions())
    pixels = cv2.imread(str(file))
    assert pixels is not None
    side = Size(640, 640)
    tensor = cv2.resize(pixels, (640, 640)).transpose(2, 0, 1)[None].astype(np.float32)
    task = create_task(spec)
    task.check(session)
    frame = Frame(Size(pixels.shape[1], pixels.shape[0]), Placement(side, 0, 0), side)
    found = task.postprocess(session.run({"input": tensor}), frame, PredictOptions())
    return [face for face in found if isinstance(face, FaceDetection)]


def opencv_faces(file: Path) -> list[list[float]]:
    """Rows as `faces_of`: xmin, ymin, xmax, ymax and five points in the picture's pixels, score."""
    pixels = cv2.imread(str(file))
    assert pixels is not None
    detector = cv2.FaceDetectorYN.create(str(YUNET), "", (640, 640), 0.5, 0.3, 5000)
    found = np.asarray(detector.detect(cv2.resize(pixels, (640, 640)))[1])
    if found.ndim == 0:  # None: no face
        return []
    across, down = pixels.shape[1] / 640, pixels.shape[0] / 640
    rows = np.concatenate([found[:, :2], found[:, :2] + found[:, 2:4], found[:, 4:14]], axis=1)
    scaled: list[list[float]] = np.concatenate([rows * ([across, down] * 7), found[:, 14:]], axis=1).tolist()
    return scaled


@pytest.mark.parametrize(("file", "count"), [("2011_000003.jpg", 2), ("2011_000006.jpg", 3), ("2011_000025.jpg", 0)])
def test_yunet_finds_the_faces_of_opencv(file: str, count: int) -> None:
    ours = faces_of(PHOTOS / file, yunet_spec())
    theirs = sorted(opencv_faces(PHOTOS / file), key=lambda row: -row[-1])
    assert len(ours) == len(theirs) == count
    for face, row in zip(ours, theirs, strict=True):
        box = [face.box.xmin, face.box.ymin, face.box.xmax, face.box.ymax]
        points = [value for point in face.landmarks for value in point]
        np.testing.assert_allclose([*box, *points, face.score], row, atol=0.05)
        assert (face.label, face.class_id, len(face.landmarks)) == ("face", 0, 5)


def test_a_label_of_the_spec_names_the_faces() -> None:
    assert faces_of(PHOTOS / FILES[0], yunet_spec(labels=["head"]))[0].label == "head"
