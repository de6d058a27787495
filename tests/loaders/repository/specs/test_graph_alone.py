"""Specs of a graph without other files: facts of the graph, and assumptions with warnings."""

from pathlib import Path

import pytest
from onnx import TensorProto

from loaders.repository.specs import ResolvedSpec
from loaders.repository.specs.model_spec import Activation, Color, ExtraInput, Rounding
from tests.loaders.repository.specs.graphs import Dims, export, understood, values

PICTURE: Dims = ("n", 3, 64, 64)
IMAGENET = (0.485, 0.456, 0.406)
YUNET = {
    f"{kind}_{stride}": (1, (64 // stride) ** 2, size)
    for kind, size in (("cls", 1), ("obj", 1), ("bbox", 4), ("kps", 10))
    for stride in (8, 16, 32)
}
QUERIES = {"class_queries_logits": ("n", 100, 4), "masks_queries_logits": ("n", 100, 16, 16)}


@pytest.mark.parametrize(
    ("outputs", "last_op", "expected"),
    [
        ({"y": ("n", 7)}, "Gemm", ("image-classification", None, "softmax")),
        ({"y": ("n", None)}, "Gemm", ("image-classification", None, "softmax")),
        ({"y": ("n", 7)}, "Softmax", ("image-classification", None, "none")),
        ({"y": ("n", 7)}, "HardSigmoid", ("image-classification", None, "none")),
        ({"y": ("n", 1)}, "Gemm", ("image-classification", None, "sigmoid")),
        ({"y": ("n", 7, 1, 1)}, "Conv", ("image-classification", None, "softmax")),
        ({"image_embeds": ("n", 512)}, "Gemm", ("image-feature-extraction", None, "none")),
        ({"features": ("n", 512)}, "Gemm", ("image-feature-extraction", None, "none")),
        ({"y": ("n", 512)}, "LpNormalization", ("image-feature-extraction", None, "none")),
        ({"y": ("n", 21, 64, 64)}, "Conv", ("image-segmentation", "semantic", "softmax")),
        ({"y": ("n", 21, 16, 16)}, "Conv", ("image-segmentation", "semantic", "softmax")),
        ({"y": ("n", 1, 64, 64)}, "Conv", ("image-segmentation", "matte", "sigmoid")),
        ({"d0": (1, 1, 64, 64), "d1": (1, 1, 64, 64)}, "Sigmoid", ("image-segmentation", "matte", "none")),
        ({"y": ("n", 512, 7, 9)}, "Conv", ("tensor", None, "none")),
        ({"boxes": ("n", 99, 4), "scores": ("n", 99, 80)}, "Mul", ("object-detection", "boxes-scores", "none")),
        ({"scores": ("n", 80, 99), "boxes": ("n", 99, 4)}, "Mul", ("object-detection", "boxes-scores", "none")),
        ({"boxes": ("n", None, 4), "scores": ("n", None, 4)}, "Mul", ("object-detection", "boxes-scores", "none")),
        ({"logits": ("n", 9, 5), "pred_boxes": ("n", 9, 4)}, "Gemm", ("object-detection", "detr", "softmax")),
        (YUNET, "Sigmoid", ("object-detection", "yunet", "none")),
        ({"y": (1, 84, 8400)}, "Concat", ("object-detection", "yolov8", "none")),
        ({"y": (1, 25200, 85)}, "Concat", ("object-detection", "yolov5", "none")),
        ({"y": (1, 300, 6)}, "Concat", ("object-detection", "end-to-end", "none")),
        ({"y": (1, 197, 768)}, "Gemm", ("tensor", None, "none")),
        ({"depth": ("n", 1, 64, 64)}, "Conv", ("depth-estimation", None, "none")),
        ({"predicted_depth": ("n", "h", "w")}, "Relu", ("depth-estimation", None, "none")),
        ({"797": (1, 64, 64)}, "Relu", ("depth-estimation", None, "none")),
        (QUERIES, "Gemm", ("image-segmentation", "maskformer", "none")),
        ({"y": (1, 300, 38), "z": (1, 32, 16, 16)}, "Concat", ("image-segmentation", "yolo-masks", "none")),
        ({"y": (1,)}, "Gemm", ("tensor", None, "none")),
        ({"a": (3, 5, 2), "b": (3, 5, 2), "c": ("n", 2)}, "Gemm", ("tensor", None, "none")),
    ],
)
def test_task_follows_from_outputs(
    tmp_path: Path, outputs: dict[str, Dims], last_op: str, expected: tuple[str, str | None, str]
) -> None:
    resolved = understood(tmp_path, export(tmp_path / "model.onnx", {"x": PICTURE}, outputs, last_op=last_op))
    assert values(resolved, "task", "head", "activation") == list(expected)


@pytest.mark.parametrize(
    ("picture", "output", "last_op", "head"),
    [
        (PICTURE, ("n", 64, 64), "Cast", "class-map"),
        (PICTURE, ("n", 1, 64, 64), "Cast", "class-map"),
        (("n", 3, 512, 1024), ("n", 512, 1024), "Cast", "class-map"),
        (("n", 3, "h", "w"), ("n", "h", "w"), "ArgMax", "class-map"),
        (PICTURE, ("n", 9, 9), "Cast", None),
    ],
)
def test_integers_of_the_inputs_size_are_a_class_map(
    tmp_path: Path, picture: Dims, output: Dims, last_op: str, head: str | None
) -> None:
    path = tmp_path / "model.onnx"
    graph = export(path, {"x": picture}, {"y": output}, output_dtype=TensorProto.INT64, last_op=last_op)
    assert understood(tmp_path, graph).spec.head == head


@pytest.mark.parametrize(
    ("outputs", "risk"),
    [
        ({"797": (1, 64, 64)}, 'depth map; if it is not, set task = "tensor" in model.toml'),
        (QUERIES, 'if this is Mask2Former, set head = "mask2former" in model.toml'),
        ({"y": (1,)}, 'write task = "tensor" in model.toml'),
    ],
)
def test_an_assumed_task_names_the_line_that_settles_it(tmp_path: Path, outputs: dict[str, Dims], risk: str) -> None:
    graph = export(tmp_path / "model.onnx", {"x": PICTURE}, outputs)
    resolved = understood(tmp_path, graph)
    assert any(risk in warning for warning in resolved.warnings)
    settled = understood(tmp_path, graph, {"model.toml": f'task = "{resolved.spec.task}"'})
    assert not any(risk in warning for warning in settled.warnings)


def test_outputs_of_an_assumed_head_are_not_those_of_another(tmp_path: Path) -> None:
    graph = export(tmp_path / "model.onnx", {"x": PICTURE}, {"output0": (1, 40, 99), "output1": (1, 9, 16, 16)})
    lines = 'task = "image-segmentation"\nhead = "yolo-masks"\n'
    assert understood(tmp_path, graph, {"model.toml": lines}).spec.outputs == ()


def test_paddle_ocr_characters_are_labels(tmp_path: Path) -> None:
    def recogniser(classes: int | None) -> ResolvedSpec:
        metadata = {"character": "a\nb\n#"}
        outputs = {"softmax_2.tmp_0": ("n", "t", classes)}
        graph = export(tmp_path / "model.onnx", {"x": ("n", 3, 48, "w")}, outputs, metadata=metadata)
        return understood(tmp_path, graph)

    assert values(recogniser(5), "task", "labels", "activation") == ["image-to-text", ("", "a", "b", "#", " "), "none"]
    assert recogniser(None).spec.labels == ("", "a", "b", "#", " ")
    assert recogniser(4).spec.labels == ("", "a", "b", "#")
    assert recogniser(5).decided_by["labels"] == "PaddleOCR metadata"


def test_boxes_and_scores_are_ordered(tmp_path: Path) -> None:
    graph = export(tmp_path / "model.onnx", {"x": PICTURE}, {"s": ("n", 80, 99), "b": ("n", 99, 4)})
    assert understood(tmp_path, graph).spec.outputs == ("b", "s")


def test_paddle_detector_gets_scale_factor(tmp_path: Path) -> None:
    inputs = {"im_shape": (1, 2), "image": (1, 3, 416, 416), "scale_factor": (1, 2)}
    graph = export(tmp_path / "model.onnx", inputs, {"rows": (None, 6), "count": (1,)})
    spec = understood(tmp_path, graph).spec
    assert (spec.head, spec.input) == ("paddle-nms", "image")
    assert spec.extra_inputs == {"im_shape": ExtraInput.INPUT_SIZE, "scale_factor": ExtraInput.SCALE}


def test_unknown_input_gives_a_warning(tmp_path: Path) -> None:
    graph = export(tmp_path / "model.onnx", {"x": PICTURE, "mood": (1, 1)}, {"y": ("n", 7)})
    assert any("mood" in warning for warning in understood(tmp_path, graph).warnings)
    known = understood(tmp_path, graph, {"model.toml": 'extra_inputs = { mood = "mask" }'})
    assert not any("mood" in warning for warning in known.warnings)


@pytest.mark.parametrize(
    ("dims", "expected"),
    [
        (("n", 3, 48, 64), ("NCHW", (48, 64), Color.RGB)),
        (("n", 48, 64, 3), ("NHWC", (48, 64), Color.RGB)),
        (("n", 1, 28, 28), ("NCHW", (28, 28), Color.GRAY)),
        (("n", 28, 28, 1), ("NHWC", (28, 28), Color.GRAY)),
        (("n", 3, 48, 3), ("NCHW", (48, 3), Color.RGB)),
        (("n", 3, "h", "w"), ("NCHW", (224, 224), Color.RGB)),
        (("n", 3, 48, "w"), ("NCHW", (48, 48), Color.RGB)),
        (("n", "c", "h", "w"), ("NCHW", (224, 224), Color.RGB)),
    ],
)
def test_layout_and_size_follow_from_input(tmp_path: Path, dims: Dims, expected: tuple[object, ...]) -> None:
    resolved = understood(tmp_path, export(tmp_path / "model.onnx", {"x": dims}, {"y": ("n", 7)}))
    assert values(resolved, "preprocess.layout", "preprocess.size", "preprocess.color") == list(expected)
    open_size = "h" in dims or "w" in dims
    assert any("the size is not recorded" in warning for warning in resolved.warnings) == open_size


def test_unrecorded_preprocessing_is_assumed_with_a_warning(tmp_path: Path) -> None:
    resolved = understood(tmp_path, export(tmp_path / "model.onnx", {"x": PICTURE}, {"y": ("n", 7)}))
    assert values(resolved, "preprocess.mean", "preprocess.resize") == [IMAGENET, "shortest-edge"]
    assert resolved.spec.preprocess.shortest_edge == 73
    assert resolved.decided_by["preprocess.mean"] == "assumed (ImageNet)"
    assert resolved.spec.preprocess.crop_rounding is Rounding.NEAREST  # as torchvision
    [mean] = [warning for warning in resolved.warnings if "mean/std are not recorded" in warning]
    assert "assumed ImageNet" in mean
    assert "write mean = [0.485, 0.456, 0.406] and std = [0.229, 0.224, 0.225] under [preprocess] in model.toml" in mean


def test_uint8_input_is_not_normalised(tmp_path: Path) -> None:
    graph = export(tmp_path / "model.onnx", {"x": PICTURE}, {"y": ("n", 7)}, dtype=TensorProto.UINT8)
    resolved = understood(tmp_path, graph)
    fields = ("dtype", "rescale_factor", "mean", "std")
    assert values(resolved, *(f"preprocess.{field}" for field in fields)) == ["uint8", 1.0, (0.0,), (1.0,)]
    assert not any("mean/std" in warning for warning in resolved.warnings)


def test_decided_by_names_every_field(tmp_path: Path) -> None:
    resolved = understood(tmp_path, export(tmp_path / "model.onnx", {"x": PICTURE}, {"y": ("n", 7)}))
    spec = resolved.spec.model_dump()
    fields = {*spec, *(f"preprocess.{field}" for field in spec["preprocess"])} - {"preprocess"}
    assert set(resolved.decided_by) == fields
    assert all(resolved.decided_by.values())
    assert resolved.spec.activation is Activation.SOFTMAX


def test_graph_without_picture_input_resolves(tmp_path: Path) -> None:
    resolved = understood(tmp_path, export(tmp_path / "model.onnx", {"x": ("n", 5)}, {"y": (5,)}))
    assert resolved.spec.input is None
