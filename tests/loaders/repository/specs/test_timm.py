"""Specs of repositories written by timm's `save_for_hf`. Their tensors are in test_golden.py."""

from pathlib import Path

import pytest

from loaders.model_errors import ModelSpecError
from loaders.repository.specs.label_assumptions import imagenet_labels
from loaders.repository.specs.model_spec import Activation, Interpolation, Resize, TaskName, Transparency
from tests.loaders.repository.specs.graphs import classifier, export, understood, values

CONFIG = "config.json"
PRETRAINED = {
    "input_size": [3, 224, 224],
    "test_input_size": [3, 288, 288],
    "crop_pct": 0.95,
    "test_crop_pct": 1.0,
    "interpolation": "bicubic",
    "mean": [0.5, 0.5, 0.5],
    "std": [0.25, 0.25, 0.25],
}
RESNET = {"architecture": "resnet50", "num_classes": 2, "pretrained_cfg": PRETRAINED}


def test_timm_repository_resolves_without_warnings(tmp_path: Path) -> None:
    graph = export(tmp_path / "model.onnx", {"input0": ("b", 3, "h", "w")}, {"output0": ("b", 2)})
    resolved = understood(tmp_path, graph, {CONFIG: RESNET | {"label_names": ["cat", "dog"]}})
    assert resolved.spec.task is TaskName.IMAGE_CLASSIFICATION
    assert resolved.spec.labels == ("cat", "dog")
    fields = ("size", "shortest_edge", "interpolation", "mean", "std")
    assert values(resolved, *(f"preprocess.{field}" for field in fields)) == [
        (224, 224), 235, Interpolation.BICUBIC, (0.5, 0.5, 0.5), (0.25, 0.25, 0.25),
    ]  # fmt: skip
    assert resolved.decided_by["preprocess.mean"] == "timm config.json"
    assert resolved.spec.activation is Activation.SOFTMAX
    assert resolved.spec.preprocess.transparency is Transparency.DROP
    assert resolved.warnings == ()


@pytest.mark.parametrize(("side", "edge"), [(224, 235), (288, 288), (320, 336)], ids=["train", "test", "neither"])
def test_graph_of_test_size_uses_test_crop_pct(tmp_path: Path, side: int, edge: int) -> None:
    graph = export(tmp_path / "model.onnx", {"input0": ("b", 3, side, side)}, {"output0": ("b", 2)})
    preprocess = understood(tmp_path, graph, {CONFIG: RESNET}).spec.preprocess
    assert (preprocess.size, preprocess.shortest_edge) == ((side, side), edge)


@pytest.mark.parametrize(
    "config",
    [
        {"architecture": "resnet18", "labels": ["a", "b"], **PRETRAINED},
        {**RESNET, "label_names": {"0": "a", "1": "b"}},
        {**RESNET, "pretrained_cfg": {**PRETRAINED, "label_names": ["a", "b"]}},
        {**RESNET, "label_names": ["n1", "b"], "label_descriptions": {"n1": "a"}},
    ],
)
def test_labels_are_found_in_every_config_version(tmp_path: Path, config: dict[str, object]) -> None:
    resolved = understood(tmp_path, classifier(tmp_path / "model.onnx", 2), {CONFIG: config})
    assert resolved.spec.labels == ("a", "b")
    assert resolved.spec.preprocess.std == (0.25, 0.25, 0.25)


def test_timm_wrapper_is_read_as_timm(tmp_path: Path) -> None:
    files = {
        CONFIG: {"architectures": ["TimmWrapperForImageClassification"], "model_type": "timm_wrapper",
                 "label_names": ["a", "b"]},
        "preprocessor_config.json": {"image_processor_type": "TimmWrapperImageProcessor", "data_config":
                                     {**PRETRAINED, "crop_mode": "squash"}},
    }  # fmt: skip
    resolved = understood(tmp_path, classifier(tmp_path / "model.onnx", 2), files)
    assert resolved.spec.labels == ("a", "b")
    assert values(resolved, "preprocess.resize", "preprocess.mean") == [Resize.STRETCH, (0.5, 0.5, 0.5)]


def test_1000_unnamed_classes_get_imagenet_labels(tmp_path: Path) -> None:
    graph = classifier(tmp_path / "model.onnx", 1000)
    resolved = understood(tmp_path, graph, {CONFIG: RESNET | {"num_classes": 1000}})
    assert resolved.spec.labels == imagenet_labels()
    assert resolved.spec.labels[281] == "tabby, tabby cat"
    assert not any("softmax" in warning for warning in resolved.warnings)
    resolved = understood(tmp_path, graph, {"labels.txt": "\n".join(map(str, range(1000)))})
    assert resolved.spec.labels[281] == "281"


def test_taggers_in_timm_format_keep_their_sigmoid(tmp_path: Path) -> None:
    files = {CONFIG: RESNET, "selected_tags.csv": "name,category\na,0\nb,9\n"}
    spec = understood(tmp_path, classifier(tmp_path / "model.onnx", 2), files).spec
    assert (spec.activation, spec.labels) == (Activation.SIGMOID, ("a", "b"))


def test_an_oblong_input_is_covered(tmp_path: Path) -> None:
    config = RESNET | {"pretrained_cfg": PRETRAINED | {"input_size": [3, 160, 256]}}
    resolved = understood(tmp_path, classifier(tmp_path / "model.onnx", 2), {CONFIG: config})
    assert values(resolved, "preprocess.resize", "preprocess.resize_size") == [Resize.COVER, (168, 269)]


def test_zero_classes_mean_feature_extraction(tmp_path: Path) -> None:
    spec = understood(tmp_path, classifier(tmp_path / "model.onnx", 512), {CONFIG: RESNET | {"num_classes": 0}}).spec
    assert (spec.task, spec.activation) == (TaskName.IMAGE_FEATURE_EXTRACTION, Activation.NONE)


def test_border_has_the_mean_colour(tmp_path: Path) -> None:
    pretrained = PRETRAINED | {"crop_mode": "border", "mean": [0.485, 0.456, 0.406], "interpolation": "random"}
    config = RESNET | {"pretrained_cfg": pretrained}
    resolved = understood(tmp_path, classifier(tmp_path / "model.onnx", 2), {CONFIG: config})
    fields = ("resize", "resize_size", "pad_value", "interpolation")
    expected = [Resize.LETTERBOX, (235, 235), (124, 116, 104), Interpolation.BILINEAR]
    assert values(resolved, *(f"preprocess.{field}" for field in fields)) == expected
    assert not any("border" in warning for warning in resolved.warnings)


@pytest.mark.parametrize(
    ("key", "value"),
    [("crop_mode", "spiral"), ("interpolation", "magic"), ("crop_pct", 0.001), ("input_size", 224), ("mean", "grey")],
)
def test_invalid_value_names_its_file(tmp_path: Path, key: str, value: object) -> None:
    config = RESNET | {"pretrained_cfg": PRETRAINED | {key: value}}
    with pytest.raises(ModelSpecError, match=rf"config\.json.*{key}"):
        understood(tmp_path, classifier(tmp_path / "model.onnx", 2), {CONFIG: config})
