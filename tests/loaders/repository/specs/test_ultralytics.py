"""Specs from the metadata of .onnx files written by Ultralytics."""

from collections.abc import Mapping
from pathlib import Path

import pytest

from loaders.model_errors import ModelSpecError
from loaders.repository.specs import ResolvedSpec
from loaders.repository.specs.model_spec import (
    Activation,
    Head,
    Interpolation,
    Resize,
    Rounding,
    TaskName,
    Transparency,
)
from tests.loaders.repository.specs.graphs import Dims, export, understood, values

NAMES = {i: f"thing {i}" for i in range(80)}
METADATA = {
    "description": "Ultralytics YOLO11n model", "author": "Ultralytics", "stride": "32", "task": "detect",
    "batch": "1", "imgsz": "[640, 640]", "names": str(NAMES), "args": "{'batch': 1, 'nms': False}", "channels": "3",
}  # fmt: skip
TWO = "{0: 'a', 1: 'b'}"
MASKS: Dims = (1, 32, 160, 160)


def exported(folder: Path, metadata: Mapping[str, str], *outputs: Dims, side: int | None = 640) -> ResolvedSpec:
    picture = (1, 3, side, side) if side else ("batch", 3, "height", "width")
    named = {f"output{i}": dims for i, dims in enumerate(outputs)}
    return understood(folder, export(folder / "model.onnx", {"images": picture}, named, metadata=metadata))


def test_detector_resolves_without_warnings(tmp_path: Path) -> None:
    resolved = exported(tmp_path, METADATA, (1, 84, 8400))
    spec, preprocess = resolved.spec, resolved.spec.preprocess
    assert (spec.task, spec.head, spec.activation) == (TaskName.OBJECT_DETECTION, Head.YOLOV8, Activation.NONE)
    assert (spec.score_threshold, spec.iou_threshold, len(spec.labels)) == (0.25, 0.7, 80)
    assert (preprocess.resize, preprocess.pad_value) == (Resize.LETTERBOX, 114)
    assert (preprocess.resize_rounding, preprocess.size_divisor) == (Rounding.NEAREST, None)
    assert preprocess.interpolation is Interpolation.OPENCV_LINEAR
    assert preprocess.transparency is Transparency.DROP
    assert (preprocess.rescale_factor, preprocess.mean, preprocess.std) == (1 / 255, (0.0,), (1.0,))
    assert resolved.decided_by["head"] == "Ultralytics metadata"
    assert resolved.warnings == ()


OLD = {"stride": "32", "names": str(NAMES)}
ONE_CLASS = {"names": "{0: 'face'}"}


@pytest.mark.parametrize(
    ("metadata", "outputs", "task", "head"),
    [
        (METADATA, [(1, 84, 8400)], "object-detection", "yolov8"),
        (METADATA, [("batch", 84, "anchors")], "object-detection", "yolov8"),
        (METADATA, [("batch", None, None)], "object-detection", "yolov8"),
        (METADATA, [(1, 300, 6)], "object-detection", "end-to-end"),
        (METADATA | {"end2end": "True"}, [(1, None, None)], "object-detection", "end-to-end"),
        (METADATA | {"args": "{'nms': True}"}, [(1, None, 6)], "object-detection", "end-to-end"),
        (METADATA | ONE_CLASS, [(1, 5, 8400)], "object-detection", "yolov8"),
        (METADATA | ONE_CLASS, [(1, 300, 6)], "object-detection", "end-to-end"),
        (METADATA | {"task": "segment"}, [(1, 116, 8400), MASKS], "image-segmentation", "yolo-masks"),
        (METADATA | {"task": "segment", "end2end": "True"}, [(1, 300, 38), MASKS], "image-segmentation", "yolo-masks"),
        (METADATA | {"task": "segment", "args": "{'nms': True}"}, [(1, 300, 38), MASKS], "image-segmentation",
         "yolo-masks"),
        (METADATA | {"task": "segment"}, [(1, 116, 8400)], "tensor", None),
        (METADATA | {"task": "pose"}, [(1, 56, 8400)], "keypoint-detection", "yolo-pose"),
        (METADATA | {"task": "obb"}, [(1, 20, 8400)], "object-detection", "yolo-obb"),
        (METADATA | {"task": "semantic"}, [(1, 640, 640)], "image-segmentation", "class-map"),
        (METADATA | {"task": "depth"}, [(1, 1, 640, 640)], "tensor", None),
        (METADATA | {"task": "teleport"}, [(1, 20, 8400)], "tensor", None),
        (OLD, [(1, 25200, 85)], "object-detection", "yolov5"),
        (OLD, [(1, None, None)], "object-detection", "yolov5"),
        (OLD | ONE_CLASS, [(1, 25200, 6)], "object-detection", "yolov5"),
        (OLD, [(1, 80)], "image-classification", None),
    ],
)  # fmt: skip
def test_head_follows_from_outputs(
    tmp_path: Path, metadata: Mapping[str, str], outputs: list[Dims], task: str, head: str | None
) -> None:
    resolved = exported(tmp_path, metadata, *outputs)
    assert values(resolved, "task", "head") == [task, head]
    assert any("raw outputs are returned" in warning for warning in resolved.warnings) == (task == "tensor")


POSE = METADATA | {"task": "pose", "names": "{0: 'person'}", "kpt_shape": "[17, 3]"}
TWO_POINTS = {"kpt_shape": "[2, 3]", "kpt_names": "{0: ['head', 'tail'], 1: ['head', 'tail']}"}


def test_unnamed_keypoints_of_a_person_are_those_of_coco(tmp_path: Path) -> None:
    resolved = exported(tmp_path, POSE, (1, 56, 8400))
    assert resolved.spec.keypoint_shape == (17, 3)
    assert resolved.spec.keypoint_names[:3] == ("nose", "left_eye", "right_eye")
    assert len(resolved.spec.skeleton) == 19
    assert resolved.warnings == ()


@pytest.mark.parametrize("names", ["{}", str({0: [str(i) for i in range(17)]})])
def test_17_keypoints_of_another_class_are_assumed_with_a_warning(tmp_path: Path, names: str) -> None:
    resolved = exported(tmp_path, {**POSE, "names": "{0: 'dog'}", "kpt_names": names}, (1, 56, 8400))
    assert resolved.spec.keypoint_names[0] == "nose"
    assert [warning for warning in resolved.warnings if "set keypoint_names and skeleton in model.toml" in warning]


@pytest.mark.parametrize(
    ("metadata", "shape", "names"),
    [
        (TWO_POINTS, (2, 3), ("head", "tail")),
        (TWO_POINTS | {"kpt_names": "{0: ['head', 'tail'], 1: ['a', 'b']}"}, (2, 3), ()),
        (TWO_POINTS | {"kpt_names": "{0: ['head']}"}, (2, 3), ()),
        (TWO_POINTS | {"kpt_names": "{"}, (2, 3), ()),
    ],
)
def test_keypoints_follow_the_metadata(
    tmp_path: Path, metadata: Mapping[str, str], shape: tuple[int, int], names: tuple[str, ...]
) -> None:
    spec = exported(tmp_path, {**POSE, **metadata}, (1, None, None)).spec
    assert (spec.keypoint_shape, spec.keypoint_names, spec.skeleton) == (shape, names, ())


def test_invalid_keypoint_shape_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ModelSpecError, match="Ultralytics metadata: keypoint_shape"):
        exported(tmp_path, POSE | {"kpt_shape": "[17, 9]"}, (1, 56, 8400))


def test_yolov5_has_a_lower_iou_threshold(tmp_path: Path) -> None:
    assert exported(tmp_path, OLD, (1, 25200, 85)).spec.iou_threshold == 0.45


def test_classifier_is_cropped_and_has_softmax_inside(tmp_path: Path) -> None:
    metadata = METADATA | {"task": "classify", "imgsz": "[640, 640]"}
    resolved = exported(tmp_path, metadata, (1, 80), side=224)
    preprocess = resolved.spec.preprocess
    assert (resolved.spec.task, resolved.spec.activation) == (TaskName.IMAGE_CLASSIFICATION, Activation.NONE)
    assert (preprocess.resize, preprocess.crop_rounding) == (Resize.SHORTEST_EDGE, Rounding.NEAREST)
    assert preprocess.size == (224, 224)
    assert preprocess.shortest_edge == 224
    assert preprocess.interpolation is Interpolation.BILINEAR


def test_a_graph_of_any_size_gets_the_least_padding(tmp_path: Path) -> None:
    preprocess = exported(tmp_path, METADATA | {"stride": "64"}, (1, 84, "a"), side=None).spec.preprocess
    assert (preprocess.size, preprocess.size_divisor, preprocess.follows_picture) == ((640, 640), 64, True)


@pytest.mark.parametrize(
    ("metadata", "values", "head"),
    [
        ({"description": "Ultralytics rtdetr-l model trained on coco.yaml"}, 84, Head.RT_DETR),
        ({"description": "Ultralytics rtdetr-l model ", "head": "RTDETRDecoder"}, 84, Head.RT_DETR),
        ({"description": "Ultralytics YOLOv8-rtdetr model ", "head": "RTDETRDecoder"}, 6, Head.RT_DETR_TOP_K),
        ({"description": "Ultralytics rtdetr-l model "}, 6, Head.RT_DETR_TOP_K),
        ({"description": "Ultralytics best model ", "head": "RTDETRDecoder", "names": TWO}, 6, Head.RT_DETR_TOP_K),
        ({"description": "Ultralytics rtdetr-l model ", "names": TWO}, 6, Head.RT_DETR),
    ],
)
def test_rt_detr_is_stretched_and_has_boxes_in_fractions(
    metadata: dict[str, str], values: int, head: Head, tmp_path: Path
) -> None:
    spec = exported(tmp_path, METADATA | metadata, (1, 300, values)).spec
    assert (spec.head, spec.preprocess.resize, spec.activation) == (head, Resize.STRETCH, Activation.NONE)


def test_open_graph_uses_the_recorded_size(tmp_path: Path) -> None:
    resolved = exported(tmp_path, METADATA | {"imgsz": "[480, 640]"}, (1, 84, "a"), side=None)
    assert resolved.spec.preprocess.size == (480, 640)
    assert exported(tmp_path, METADATA | {"imgsz": "320"}, (1, 84, "a"), side=None).spec.preprocess.size == (320, 320)


@pytest.mark.parametrize("text", ["__import__('os').abort()", "{", "[" * 10_000, "-" * 10_000 + "1", "{0: x}", ""])
def test_metadata_is_never_executed(tmp_path: Path, text: str) -> None:
    resolved = exported(tmp_path, METADATA | {"names": text, "imgsz": text, "args": text}, (1, 84, 8400))
    assert resolved.spec.head is Head.YOLOV8
    assert resolved.spec.labels == ()
