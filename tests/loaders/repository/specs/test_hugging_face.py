"""Specs of folders written by Optimum: config.json, preprocessor_config.json. Their tensors are in test_golden.py."""

import json
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loaders.model_errors import ModelSpecError
from loaders.onnx.onnx_file import OnnxGraph
from loaders.repository.specs import ModelFiles, resolve
from loaders.repository.specs.model_spec import Activation, ExtraInput, Head, Resize, TaskName
from tests.loaders.repository.specs.golden_cases import CASES
from tests.loaders.repository.specs.graphs import OPEN_PICTURE, classifier, export, understood, values

CONFIG, PREPROCESSOR = "config.json", "preprocessor_config.json"
VIT = {"architectures": ["ViTForImageClassification"], "model_type": "vit", "id2label": {"1": "dog", "0": "cat"}}
VIT_PROCESSOR = {"image_processor_type": "ViTImageProcessor"}

QUERIES = {"class_queries_logits": ("n", 100, 4), "masks_queries_logits": ("n", 100, "h", "w")}
DETR_MASKS = {"logits": ("n", 100, 4), "pred_boxes": ("n", 100, 4), "pred_masks": ("n", 100, "h", "w")}


def detector(path: Path, *inputs: str, side: int | str = "side") -> OnnxGraph:
    picture = ("batch_size", 3, side, side)
    others = dict.fromkeys(inputs, ("batch_size", 64, 64))
    outputs = {"logits": ("batch_size", 100, 92), "pred_boxes": ("batch_size", 100, 4)}
    return export(path, {"pixel_values": picture, **others}, outputs)


def test_classifier_resolves_without_warnings(tmp_path: Path) -> None:
    resolved = understood(tmp_path, classifier(tmp_path / "model.onnx", 2), {CONFIG: VIT, PREPROCESSOR: VIT_PROCESSOR})
    assert resolved.spec.task is TaskName.IMAGE_CLASSIFICATION
    assert resolved.spec.labels == ("cat", "dog")
    assert resolved.spec.preprocess.size == (224, 224)
    assert resolved.warnings == ()
    assert resolved.decided_by["labels"] == "config.json"
    assert resolved.decided_by["preprocess.mean"] == "preprocessor_config.json (ViTImageProcessor)"
    assert resolved.decided_by["preprocess.dtype"] == "graph"


@pytest.mark.parametrize("place", ["model.onnx", "onnx/model_quantized.onnx", "1/model.onnx", "1/onnx/model.onnx"])
def test_json_is_found_in_parent_folders(tmp_path: Path, place: str) -> None:
    graph = classifier(tmp_path / place, 2)
    (tmp_path / PREPROCESSOR).write_text(json.dumps(VIT_PROCESSOR))
    (tmp_path / CONFIG).write_text(json.dumps(VIT))
    resolved = resolve(ModelFiles.of_folder(tmp_path / place, tmp_path), graph)
    assert resolved.spec.labels == ("cat", "dog")
    assert resolved.spec.preprocess.mean == (0.5, 0.5, 0.5)


def test_nearest_json_wins(tmp_path: Path) -> None:
    files = {CONFIG: VIT, f"1/{CONFIG}": VIT | {"id2label": {"0": "a", "1": "b"}}}
    graph = classifier(tmp_path / "1" / "model.onnx", 2)
    understood(tmp_path, graph, files)
    assert resolve(ModelFiles.of_folder(tmp_path / "1" / "model.onnx", tmp_path), graph).spec.labels == ("a", "b")


@pytest.mark.parametrize(
    ("config", "activation"),
    [
        ({"id2label": {"0": "a", "1": "b"}}, Activation.SOFTMAX),
        ({"id2label": {"0": "a"}}, Activation.SIGMOID),
        ({"id2label": {"0": "LABEL_0"}}, Activation.SIGMOID),
        ({"num_labels": 1}, Activation.SIGMOID),
        ({"problem_type": "multi_label_classification"}, Activation.SIGMOID),
        ({"problem_type": "single_label_classification", "num_labels": 1}, Activation.SOFTMAX),
        ({"problem_type": "regression"}, Activation.NONE),
    ],
)
def test_activation_follows_transformers_pipeline(tmp_path: Path, config: dict[str, object], activation: str) -> None:
    config = {"architectures": ["BeitForImageClassification"], **config}
    assert understood(tmp_path, classifier(tmp_path / "model.onnx"), {CONFIG: config}).spec.activation == activation


def test_softmax_inside_the_graph_is_not_repeated(tmp_path: Path) -> None:
    graph = classifier(tmp_path / "model.onnx", 2, last_op="Softmax")
    resolved = understood(tmp_path, graph, {CONFIG: VIT})
    assert resolved.spec.activation is Activation.NONE
    assert resolved.decided_by["activation"] == "graph (Softmax is its last operator)"
    resolved = understood(tmp_path, graph, {"model.toml": 'activation = "softmax"'})
    assert resolved.spec.activation is Activation.SOFTMAX


def test_placeholder_labels_are_ignored(tmp_path: Path) -> None:
    files = {CONFIG: VIT | {"id2label": {"0": "LABEL_0", "1": "LABEL_1"}}}
    resolved = understood(tmp_path, classifier(tmp_path / "model.onnx", 2), files)
    assert resolved.spec.labels == ()
    assert any("does not name" in warning for warning in resolved.warnings)
    resolved = understood(tmp_path, classifier(tmp_path / "model.onnx", 2), {"labels.txt": "cat\ndog\n"})
    assert resolved.spec.labels == ("cat", "dog")


@pytest.mark.parametrize(
    ("outputs", "architecture", "expected"),
    [
        ({"logits": ("n", 150, "h", "w")}, "SegformerForSemanticSegmentation", ("image-segmentation", "semantic")),
        ({"last_hidden_state": ("n", 197, 768)}, "ViTModel", ("image-feature-extraction", None)),
        ({"last_hidden_state": ("n", 5, 8), "pooler_output": ("n", 8)}, "ViTModel", ("image-feature-extraction", None)),
        ({"logits": ("n", 7)}, "DeiTForImageClassificationWithTeacher", ("image-classification", None)),
        (
            {"logits": ("n", 100, 92), "pred_boxes": ("n", 100, 4)},
            "DetrForObjectDetection",
            ("object-detection", "detr"),
        ),
        ({"y": ("n", 7)}, "ViTForImageClassification", ("image-classification", None)),
        ({"last_hidden_state": ("n", 5, 8)}, "ViTForImageClassification", ("image-feature-extraction", None)),
        ({"y": ("n", 150, "h", "w")}, "UperNetForSemanticSegmentation", ("image-segmentation", "semantic")),
        ({"predicted_depth": ("n", "h", "w")}, "DepthAnythingForDepthEstimation", ("depth-estimation", None)),
        ({"y": ("n", "h", "w")}, "DPTForDepthEstimation", ("depth-estimation", None)),
        (QUERIES, "MaskFormerForInstanceSegmentation", ("image-segmentation", "maskformer")),
        (DETR_MASKS, "DetrForSegmentation", ("image-segmentation", "maskformer")),
        ({"reconstruction": ("n", 3, "h", "w")}, "Swin2SRForImageSuperResolution", ("tensor", None)),
        ({"heatmaps": ("n", 17, 64, 48)}, "VitPoseForPoseEstimation", ("tensor", None)),
        ({"logits": ("n", 196, 768)}, "ViTMAEForPreTraining", ("tensor", None)),
        ({"reconstruction": ("n", 3, 64, 64)}, "ViTForMaskedImageModeling", ("tensor", None)),
        ({"image_embeds": ("n", 8)}, "CLIPVisionModelWithProjection", ("image-feature-extraction", None)),
        ({"last_hidden_state": ("n", 5, 8)}, "BlipForConditionalGeneration", ("image-feature-extraction", None)),
    ],
)
def test_task_follows_from_architecture_and_outputs(
    tmp_path: Path, outputs: dict[str, tuple[Any, ...]], architecture: str, expected: tuple[str, str | None]
) -> None:
    graph = export(tmp_path / "model.onnx", {"pixel_values": OPEN_PICTURE}, outputs)
    resolved = understood(tmp_path, graph, {CONFIG: {"architectures": [architecture], "model_type": "x"}})
    assert (resolved.spec.task, resolved.spec.head) == expected
    warned = any(f"outputs of {architecture}" in w and 'task = "tensor"' in w for w in resolved.warnings)
    assert warned == (expected[0] == "tensor")


@pytest.mark.parametrize(
    ("model_type", "head"), [("maskformer", "maskformer"), ("mask2former", "mask2former"), ("eomt", None)]
)
def test_query_masks_follow_transformers_pipeline(tmp_path: Path, model_type: str, head: str | None) -> None:
    graph = export(tmp_path / "model.onnx", {"pixel_values": OPEN_PICTURE}, QUERIES)
    config = {"architectures": ["XForUniversalSegmentation"], "model_type": model_type}
    resolved = understood(tmp_path, graph, {CONFIG: config})
    assert resolved.spec.head == head
    if head:
        assert values(resolved, "subtask", "score_threshold", "outputs") == ["panoptic", 0.9, tuple(QUERIES)]


def test_embeddings_prefer_the_pooled_output(tmp_path: Path) -> None:
    outputs = {"last_hidden_state": ("n", 5, 8), "pooler_output": ("n", 8)}
    graph = export(tmp_path / "model.onnx", {"pixel_values": OPEN_PICTURE}, outputs)
    assert understood(tmp_path, graph, {CONFIG: {"model_type": "vit"}}).spec.outputs == ("pooler_output",)


def test_detr_keeps_the_ratio_and_gets_a_mask(tmp_path: Path) -> None:
    files = {PREPROCESSOR: {"feature_extractor_type": "DetrFeatureExtractor", "size": 800, "max_size": 1333}}
    spec = understood(tmp_path, detector(tmp_path / "model.onnx", "pixel_mask"), files).spec
    assert (spec.head, spec.outputs, spec.activation) == (Head.DETR, ("logits", "pred_boxes"), Activation.SOFTMAX)
    assert spec.extra_inputs == {"pixel_mask": ExtraInput.MASK}
    preprocess = spec.preprocess
    assert (preprocess.resize, preprocess.shortest_edge, preprocess.longest_edge) == (Resize.BOUNDED, 800, 1333)
    assert preprocess.size is None


@pytest.mark.parametrize(("inputs", "resize"), [((), "stretch"), (("pixel_mask",), "longest-edge")])
def test_static_graph_replaces_bounded_resize(tmp_path: Path, inputs: tuple[str, ...], resize: str) -> None:
    graph = detector(tmp_path / "model.onnx", *inputs, side=512)
    resolved = understood(tmp_path, graph, {PREPROCESSOR: {"image_processor_type": "DetrImageProcessor"}})
    assert values(resolved, "preprocess.resize", "preprocess.size") == [resize, (512, 512)]
    assert "the graph's size is used" in resolved.warnings[0]


@pytest.mark.parametrize(
    ("model_type", "labels", "activation"),
    [
        ("conditional_detr", 0, Activation.SIGMOID),  # the number of labels is not recorded
        ("table-transformer", 0, Activation.SOFTMAX),
        ("lw_detr", 92, Activation.SIGMOID),  # the graph has 92 classes
        ("of-tomorrow", 92, Activation.SIGMOID),
        ("of-tomorrow", 91, Activation.SOFTMAX),
    ],
)
def test_detectors_without_a_class_for_no_object_use_sigmoid(
    tmp_path: Path, model_type: str, labels: int, activation: Activation
) -> None:
    id2label = {str(class_id): f"thing {class_id}" for class_id in range(labels)}
    config = {"model_type": model_type, "architectures": ["XForObjectDetection"], "id2label": id2label}
    assert understood(tmp_path, detector(tmp_path / "model.onnx"), {CONFIG: config}).spec.activation is activation


def test_a_stretched_picture_of_another_static_size_is_certain(tmp_path: Path) -> None:
    graph = export(tmp_path / "model.onnx", {"pixel_values": ("n", 3, 96, 96)}, {"logits": ("n", 2)})
    resolved = understood(tmp_path, graph, {CONFIG: VIT, PREPROCESSOR: VIT_PROCESSOR})
    assert values(resolved, "preprocess.resize", "preprocess.size") == [Resize.STRETCH, (96, 96)]
    assert resolved.warnings == ()


def test_static_graph_size_wins_over_json(tmp_path: Path) -> None:
    graph = export(tmp_path / "model.onnx", {"pixel_values": ("n", 3, 384, 384)}, {"logits": ("n", 10)})
    files = {PREPROCESSOR: {"image_processor_type": "MobileNetV1ImageProcessor"}}  # 256, crop 224
    resolved = understood(tmp_path, graph, files)
    assert values(resolved, "preprocess.size", "preprocess.shortest_edge") == [(384, 384), 439]
    assert resolved.decided_by["preprocess.size"] == "graph"
    assert "the graph's input is 384 x 384" in resolved.warnings[0]


@pytest.mark.parametrize(
    ("config", "risk"),
    [
        ({"image_processor_type": "GlobImageProcessor", "size": 8}, "GlobImageProcessor is unknown"),
        ({"image_processor_type": "DonutImageProcessor"}, "steps that are unknown here (_preprocess)"),
        ({"image_processor_type": "Qwen2VLImageProcessor"}, "steps that are unknown here"),
        ({"image_processor_type": "SuperPointImageProcessor", "do_grayscale": True}, "do_grayscale"),
        ({"image_processor_type": "ViTImageProcessor", "do_resize": False}, "do_resize is false"),
        ({"image_processor_type": "DPTImageProcessor", "do_pad": True, "size_divisor": 14}, "are not padded"),
        ({"image_processor_type": "ZoeDepthImageProcessor"}, "align_corners"),
        ({"image_processor_type": "PerceiverImageProcessor"}, "crops before it resizes"),
    ],
)
def test_what_is_not_supported_warns_and_names_the_line(tmp_path: Path, config: dict[str, object], risk: str) -> None:
    resolved = understood(tmp_path, classifier(tmp_path / "model.onnx"), {CONFIG: VIT, PREPROCESSOR: config})
    [warning] = [warning for warning in resolved.warnings if risk in warning]
    assert warning.endswith(" under [preprocess] in model.toml")


def test_transformers_5_writes_another_file(tmp_path: Path) -> None:
    nested = {"image_processor": {**VIT_PROCESSOR, "size": {"height": 32, "width": 32}}, "processor_class": "Any"}
    files = {CONFIG: VIT, "processor_config.json": nested, PREPROCESSOR: {"image_processor_type": "CLIPImageProcessor"}}
    resolved = understood(tmp_path, classifier(tmp_path / "model.onnx", 2), files)
    assert values(resolved, "preprocess.size", "preprocess.mean") == [(32, 32), (0.5, 0.5, 0.5)]
    assert resolved.decided_by["preprocess.mean"] == "processor_config.json (ViTImageProcessor)"
    assert resolved.warnings == ()


def test_a_file_without_a_class_has_that_of_the_model(tmp_path: Path) -> None:
    files = {CONFIG: VIT | {"model_type": "levit"}, PREPROCESSOR: {"do_resize": True}}
    resolved = understood(tmp_path, classifier(tmp_path / "model.onnx", 2), files)
    assert values(resolved, "preprocess.size", "preprocess.shortest_edge") == [(224, 224), 256]
    assert resolved.warnings == ()


def test_a_file_without_a_class_that_leaves_nothing_out_is_certain(tmp_path: Path) -> None:
    config = {"size": {"height": 32, "width": 32}, "resample": 3, "image_mean": [0.5] * 3, "image_std": [0.5] * 3}
    graph = classifier(tmp_path / "model.onnx", 2)
    config_of_another_model = VIT | {"model_type": "own"}
    assert understood(tmp_path, graph, {CONFIG: config_of_another_model, PREPROCESSOR: config}).warnings == ()
    del config["image_std"]
    [warning] = understood(tmp_path, graph, {CONFIG: config_of_another_model, PREPROCESSOR: config}).warnings
    assert "image_std assumed to be ViT's" in warning


def test_depth_models_keep_the_ratio_in_multiples(tmp_path: Path) -> None:
    config = {"image_processor_type": "DPTImageProcessor", "keep_aspect_ratio": True, "ensure_multiple_of": 14,
              "size": {"height": 518, "width": 518}}  # fmt: skip
    graph = export(tmp_path / "model.onnx", {"pixel_values": OPEN_PICTURE}, {"predicted_depth": ("b", "h", "w")})
    resolved = understood(tmp_path, graph, {PREPROCESSOR: config})
    fields = ("resize", "size", "size_divisor", "size_rounding")
    expected = [Resize.KEEP_ASPECT_RATIO, (518, 518), 14, "nearest"]
    assert values(resolved, *(f"preprocess.{field}" for field in fields)) == expected
    config |= {"keep_aspect_ratio": False, "size": {"height": 100, "width": 200}}
    resolved = understood(tmp_path, graph, {PREPROCESSOR: config})
    assert values(resolved, "preprocess.resize", "preprocess.size") == [Resize.STRETCH, (98, 196)]


@pytest.mark.parametrize(
    ("config", "problem"),
    [
        ({"size": "big"}, "size"),
        ({"size": {"width": 3}}, "size"),
        ({"size": 0}, "size"),
        ({"size": 1e99}, "size"),
        ({"resample": 9}, "resample"),
        ({"resample": "bicubic"}, "resample"),
        ({"image_mean": ["x"]}, "image_mean"),
        ({"image_mean": [0.5, 0.5]}, "mean"),
        ({"image_std": [0, 1, 1]}, "preprocess.std"),
        ({"rescale_factor": -1}, "preprocess.rescale_factor"),
        ({"do_center_crop": True, "crop_size": {"edge": 3}}, "crop_size"),
        ({"image_processor_type": 3}, "image_processor_type"),
    ],
)
def test_invalid_value_names_its_file(tmp_path: Path, config: dict[str, object], problem: str) -> None:
    graph = classifier(tmp_path / "model.onnx")
    with pytest.raises(ModelSpecError, match=problem) as error:
        understood(tmp_path, graph, {PREPROCESSOR: {**VIT_PROCESSOR, **config}})
    assert str(error.value).startswith(tmp_path.name)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("text", ["", "{", "[" * 100_000, '{"a": NaN', "\x00"])
def test_invalid_json_is_rejected(tmp_path: Path, text: str) -> None:
    with pytest.raises(ModelSpecError, match=r"config\.json is not valid JSON"):
        understood(tmp_path, classifier(tmp_path / "model.onnx"), {CONFIG: text})


def test_large_json_is_rejected(tmp_path: Path) -> None:
    with pytest.raises(ModelSpecError, match="larger than 8 MiB"):
        understood(tmp_path, classifier(tmp_path / "model.onnx"), {CONFIG: " " * (8 << 20) + "{}"})


@pytest.mark.parametrize("text", ["[]", "3", "null", '"text"', '{"x": 1}', '{"architecture": 3}'])
def test_json_of_other_tools_is_ignored(tmp_path: Path, text: str) -> None:
    resolved = understood(tmp_path, classifier(tmp_path / "model.onnx"), {CONFIG: text, PREPROCESSOR: text})
    assert "config" not in " ".join(resolved.decided_by.values())


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=4,
)
KEYS = sorted({key for case in CASES for key in (*case.config, *case.config.get("pretrained_cfg", {}))} | {
    "architectures", "id2label", "label_names", "labels", "data_config", "num_classes", "problem_type", "num_labels",
    "crop_size", "model_type", "label_descriptions", "test_input_size",
})  # fmt: skip


_open_classifier = cache(classifier)


@given(data=st.dictionaries(st.sampled_from(KEYS), ANYTHING, max_size=8), inner=st.booleans())
def test_any_json_resolves_or_raises_model_spec_error(
    tmp_path_factory: pytest.TempPathFactory, data: dict[str, object], inner: bool
) -> None:
    folder = tmp_path_factory.getbasetemp() / "fuzzed"
    folder.mkdir(exist_ok=True)
    config = {"architecture": "a", "pretrained_cfg": data, **data} if inner else data
    graph = _open_classifier(folder / "model.onnx")
    try:
        understood(folder, graph, {CONFIG: config, PREPROCESSOR: {**data, "size": data.get("size", 8)}})
    except ModelSpecError as error:
        assert "\n" not in str(error)  # noqa: PT017 - most inputs raise nothing
