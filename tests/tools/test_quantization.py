"""Quantisation of small graphs, its errors, and the measures of agreement. Real models: tests/e2e/."""

import base64
from io import BytesIO
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

from engine.models.load import load_model
from engine.models.samples import check_samples
from engine.tasks.predictions import Box, Classification, Detection, Embedding, OutputTensor, Segment, iou
from loaders.image_loader import create_image_loader
from loaders.model_errors import UnknownModelError
from loaders.model_loader import create_model_loader
from loaders.repository.model_repository import ModelRepository
from loaders.repository.model_state import ModelStateFile
from loaders.repository.specs.model_spec import TaskName
from loaders.runtimes.base import SessionOptions
from tests.samples import add_samples, colour_sample
from tests.tiny_models import COLOURS, SIDE, SPEC, add_model, colour_graph, solid_png
from tools import quantize
from tools.quantization.agreement import compare, summarise
from tools.quantization.int8_graph import QuantizationError, last_layers, may_overflow
from tools.quantization.new_version import add_version, quantize_into


def colour_layers(opset: int = 17, metadata: str = "") -> onnx.ModelProto:
    """The logits are the means of the channels after a convolution with float16 weights."""
    kernel = (np.eye(3) * 10).reshape(3, 3, 1, 1).astype(np.float16)
    axes = [numpy_helper.from_array(kernel, "half")]
    nodes = [
        helper.make_node("Cast", ["half"], ["kernel"], to=TensorProto.FLOAT, name="cast"),
        helper.make_node("Conv", ["image", "kernel"], ["layer"], name="conv"),
        helper.make_node("Relu", ["layer"], ["active"], name="relu"),
        helper.make_node("GlobalAveragePool", ["active"], ["means"], name="pool"),
        helper.make_node("Flatten", ["means"], ["logits"], name="flatten"),
    ]
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, ["batch", 3, SIDE, SIDE])
    logits = helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", 3])
    graph = helper.make_graph(nodes, "layers", [image], [logits], axes)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    if metadata:
        helper.set_model_props(model, {"note": metadata})
    return model


@pytest.fixture
def models(tmp_path: Path) -> Path:
    add_model(tmp_path / "models", "m", colour_layers(metadata="kept"))
    return tmp_path / "models"


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    folder = tmp_path / "pictures"
    folder.mkdir()
    for i, colour in enumerate([*COLOURS, "orange", "navy", "lime"] * 2):
        (folder / f"{i}.png").write_bytes(solid_png(colour))
    (folder / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    return folder


def paths(pictures: Path) -> list[Path]:
    return sorted(pictures.iterdir())


def test_the_new_version_is_added_and_is_not_active(models: Path, pictures: Path) -> None:
    repository = ModelRepository(models)
    number, report = add_version(models, repository.scan().catalog, "m", paths(pictures))
    assert number == 2
    assert ModelStateFile(models).read().active == {"m": 1}
    assert sorted(repository.scan().catalog["m"]) == [1, 2]
    made = onnx.load(models / "m" / "2" / "model.onnx")
    assert {entry.key: entry.value for entry in made.metadata_props} == {"note": "kept"}
    assert "QuantizeLinear" in {node.op_type for node in made.graph.node}
    assert (report.pictures, report.unreadable) == (12, 1)
    assert report.main_agreement == 1
    assert report.agreement["largest_score_change"] < 0.05
    assert (models / "m" / "2" / "quantization.json").is_file()
    assert not list(models.glob(".upload-*"))


def test_the_active_version_is_quantised(models: Path, pictures: Path) -> None:
    add_model(models, "m", colour_graph(), version=2)
    ModelStateFile(models).update(lambda choices: choices.active.update(m=1))
    number, report = add_version(models, ModelRepository(models).scan().catalog, "m", paths(pictures))
    assert (number, report.made_from_version) == (3, 1)
    assert ModelStateFile(models).read().active == {"m": 1}


def test_files_of_the_version_are_copied(models: Path, pictures: Path) -> None:
    (models / "m" / "1" / "labels.txt").write_text("x\ny\nz\n")
    add_version(models, ModelRepository(models).scan().catalog, "m", paths(pictures))
    assert sorted(file.name for file in (models / "m" / "2").iterdir()) == [
        "labels.txt",
        "model.onnx",
        "quantization.json",
    ]


def test_the_8_bit_version_has_samples_with_a_tolerance_that_it_keeps(models: Path, pictures: Path) -> None:
    sample = colour_sample("red")
    sample["predictions"][0]["score"] -= 0.1  # as if 8 bits made that difference
    add_samples(models / "m", sample, tolerance=0.01)
    number, _ = add_version(models, ModelRepository(models).scan().catalog, "m", paths(pictures))
    version = ModelRepository(models).find("m", number)
    model = load_model(version, create_model_loader("onnxruntime"), SessionOptions())
    report = check_samples(model, version, create_image_loader("opencv"))
    assert report
    assert 0.1 < report.tolerance < 0.2
    assert "The tolerance is that of the 8-bit model" in report.how


def test_a_bare_file_becomes_a_separate_folder(tmp_path: Path, pictures: Path) -> None:
    models = tmp_path / "bare"
    models.mkdir()
    (models / "m.onnx").write_bytes(colour_layers(opset=11).SerializeToString())
    (models / "m.toml").write_text(SPEC)
    catalog = ModelRepository(models).scan().catalog
    with pytest.raises(QuantizationError, match="use OUT=folder"):
        add_version(models, catalog, "m", paths(pictures))
    quantize_into(catalog["m"][1], paths(pictures), models / "small")
    assert sorted(ModelRepository(models).scan().catalog) == ["m", "small"]
    with pytest.raises(QuantizationError, match="exists already"):
        quantize_into(catalog["m"][1], paths(pictures), models / "small")


@pytest.mark.parametrize(
    ("model", "problem"),
    [(colour_graph(), "no convolution"), (None, "quantised already")],
    ids=["nothing to gain", "twice"],
)
def test_a_graph_that_cannot_be_quantised_leaves_no_files(
    models: Path, pictures: Path, model: onnx.ModelProto | None, problem: str
) -> None:
    if model is None:
        quantize_into(ModelRepository(models).find("m"), paths(pictures), models / "once")
        model = onnx.load(models / "once" / "model.onnx")
    add_model(models, "other", model)
    before = sorted(path.name for path in models.rglob("*"))
    with pytest.raises(QuantizationError, match=problem):
        add_version(models, ModelRepository(models).scan().catalog, "other", paths(pictures))
    assert sorted(path.name for path in models.rglob("*")) == before


def test_too_few_pictures_are_an_error(models: Path, pictures: Path, tmp_path: Path) -> None:
    with pytest.raises(QuantizationError, match=r"^3 pictures \(1 cannot be read\) .* at least 8"):
        quantize_into(ModelRepository(models).find("m"), paths(pictures)[-4:], tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_an_unknown_model_raises(models: Path, pictures: Path) -> None:
    with pytest.raises(UnknownModelError):
        add_version(models, ModelRepository(models).scan().catalog, "n", paths(pictures))


def test_the_command_shows_the_comparison_and_how_to_switch(
    models: Path, pictures: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setenv("API_MODELS_DIR", str(models))
    assert quantize.main(["m", str(pictures)]) == 0
    shown = capsys.readouterr().out
    assert "12 pictures, 1 unreadable ones skipped" in shown
    assert "same top1: 1.0000" in shown
    assert "/models/m/active" in shown
    assert quantize.main(["m", str(pictures), "--out", str(tmp_path / "twin")]) == 0
    assert quantize.main(["m", str(pictures), "--out", str(tmp_path / "twin")]) == 1


@pytest.mark.parametrize("arguments", [["n", "{pictures}"], ["m", "{pictures}/none"], ["m", "{models}"], ["m"]])
def test_wrong_arguments_are_status_2(
    models: Path, pictures: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str]
) -> None:
    monkeypatch.setenv("API_MODELS_DIR", str(models))
    with pytest.raises(SystemExit) as exit_:
        quantize.main([word.format(pictures=pictures, models=models) for word in arguments])
    assert exit_.value.code == 2


def test_the_last_layers_are_those_nearest_to_the_outputs() -> None:
    model = colour_layers()
    assert last_layers(model, 0) == []
    assert last_layers(model, 1) == ["conv", "flatten", "pool", "relu"]
    assert last_layers(model, 2) == ["cast", "conv", "flatten", "pool", "relu"]


def test_x86_without_vnni_gets_7_bit_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platform.machine", lambda: "x86_64")
    assert may_overflow("flags : avx2")
    assert not may_overflow("flags : avx2 avx512_vnni")
    monkeypatch.setattr("platform.machine", lambda: "aarch64")
    assert not may_overflow("Features : asimd")


def label(class_id: int, score: float) -> Classification:
    return Classification(str(class_id), class_id, score)


def box(class_id: int, xmin: float, score: float = 0.5) -> Detection:
    return Detection(str(class_id), class_id, score, Box(xmin, 0, xmin + 10, 10))


def segment(value: int) -> Segment:
    buffer = BytesIO()
    Image.new("L", (4, 4), value).save(buffer, "PNG")
    return Segment("subject", 0, None, base64.b64encode(buffer.getvalue()).decode())


def test_labels_are_compared_by_the_best_one() -> None:
    old, new = [label(1, 0.6), label(2, 0.4)], [label(2, 0.7), label(1, 0.3)]
    measures = compare(TaskName.IMAGE_CLASSIFICATION, old, new)
    assert measures == {"same_top1": 0.0, "largest_score_change": pytest.approx(0.3)}


def test_boxes_are_matched_once_and_by_class() -> None:
    old, new = [box(1, 0), box(1, 1), box(2, 50)], [box(1, 0, 0.4), box(3, 50)]
    measures = compare(TaskName.OBJECT_DETECTION, old, new)
    assert measures["objects_found_again"] == pytest.approx(1 / 3)
    assert measures["objects_that_are_new"] == 0.5
    assert measures["box_iou"] == 1.0
    assert measures["largest_score_change"] == pytest.approx(0.1)
    assert compare(TaskName.OBJECT_DETECTION, [], []) == {}
    assert iou(Box(0, 0, 10, 10), Box(5, 0, 15, 10)) == pytest.approx(1 / 3)


def test_masks_agree_where_both_see_the_subject() -> None:
    same = compare(TaskName.IMAGE_SEGMENTATION, [segment(255)], [segment(204)])
    assert same == {"mask_iou": 1.0, "least_mask_iou": 1.0, "mean_mask_difference": pytest.approx(0.2)}
    assert compare(TaskName.IMAGE_SEGMENTATION, [segment(255)], [])["mask_iou"] == 0.0


def test_vectors_agree_by_their_angle() -> None:
    one, other = Embedding([1.0, 0.0], 2, "list"), Embedding([0.0, 2.0], 2, "list")
    assert compare(TaskName.IMAGE_FEATURE_EXTRACTION, [one], [other])["cosine"] == 0.0
    tensor = OutputTensor("t", "float32", [2], [0.0, 0.0], "list")
    assert compare(TaskName.TENSOR, [tensor], [tensor])["least_cosine"] == 1.0


def test_a_summary_has_means_and_extremes() -> None:
    pictures = [{"same_top1": 1.0, "largest_x": 0.1, "least_y": 0.5}, {"same_top1": 0.0, "largest_x": 0.3}]
    assert summarise(pictures) == {"same_top1": 0.5, "largest_x": 0.3, "least_y": 0.5}
