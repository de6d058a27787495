"""A model whose answers differ from its samples is not loaded, and the reason says by how much, where and why."""

import json
import re
import shutil
from pathlib import Path
from typing import Any

import onnx
import pytest

from engine.models.load import load_model
from engine.models.sample_report import SampleReport
from engine.models.samples import check_samples
from loaders.image_loader import create_image_loader
from loaders.model_errors import ModelSampleError
from loaders.model_loader import create_model_loader
from loaders.repository.model_repository import ModelRepository
from loaders.runtimes.base import SessionOptions
from tests.paths import ROOT
from tests.samples import add_samples, colour_sample
from tests.tiny_models import SPEC, add_model, colour_graph, not_a_number_graph

BGR = SPEC.replace("[preprocess]", '[preprocess]\ncolor = "BGR"')
SIGMOID = SPEC.replace("\n[preprocess]", '\nactivation = "sigmoid"\n[preprocess]')
LIMIT = 33 << 20


@pytest.fixture
def models(tmp_path: Path) -> Path:
    add_model(tmp_path, "colour", colour_graph())
    return tmp_path


def check(models: Path, name: str = "colour", number: int | None = None, more: float = 0.0) -> SampleReport | None:
    version = ModelRepository(models).find(name, number)
    model = load_model(version, create_model_loader("onnxruntime"), SessionOptions())
    return check_samples(model, version, create_image_loader("opencv"), more)


def problem(models: Path, name: str = "colour", number: int | None = None) -> str:
    with pytest.raises(ModelSampleError) as error:
        check(models, name, number)
    text = str(error.value)
    assert "\n" not in text
    assert str(models) not in text
    return text


def test_a_model_without_samples_has_no_report(models: Path) -> None:
    assert check(models) is None


def test_a_model_that_agrees_has_a_report(models: Path) -> None:
    add_samples(models / "colour", colour_sample("red"), colour_sample("green"))
    report = check(models)
    assert report
    assert (report.count, report.agreeing, report.tolerance) == (2, 2, 0.02)
    assert report.largest_difference < 1e-6
    assert report.summary == "agrees with its framework: 2 of 2, largest difference 0.0000"
    assert (report.framework, report.how) == ("NumPy", "a mean of each channel")


@pytest.mark.parametrize(
    ("spec", "graph", "sample", "stage"),
    [
        (BGR, colour_graph(), {}, "part at preprocessing: of the input tensor"),
        (SPEC, colour_graph(gain=1), {}, "part at inference: of the output logits"),
        (SIGMOID, colour_graph(), {}, "part at postprocessing"),
        (BGR, colour_graph(), {"input": None}, "part at inference or before"),
        (BGR, colour_graph(), {"input": None, "outputs": {}}, ""),
    ],
    ids=["preprocessing", "inference", "postprocessing", "outputs alone", "no tensors"],
)
def test_a_disagreement_names_picture_difference_and_stage(
    models: Path, spec: str, graph: onnx.ModelProto, sample: dict[str, Any], stage: str
) -> None:
    add_model(models, "colour", graph, spec=spec)
    add_samples(models / "colour", colour_sample("green"), colour_sample("red", **sample))
    text = problem(models)
    assert re.search(r"colour/samples/(red|green).png: the score of '\w+' is 0\.\d+, the framework's is 0\.\d+", text)
    assert "tolerance 0.02" in text
    assert stage in text
    assert ("part" in text) == bool(stage)
    assert "record the samples again" in text


def test_only_disagreeing_samples_are_counted(models: Path) -> None:
    add_model(models, "colour", colour_graph(), spec=BGR)
    add_samples(models / "colour", colour_sample("green"), colour_sample("red"), colour_sample("blue"))
    assert "2 of 3 samples disagree with NumPy" in problem(models)


def test_a_difference_within_the_tolerance_is_accepted(models: Path) -> None:
    wrong = colour_sample("red")
    wrong["predictions"][0]["score"] -= 0.01
    add_samples(models / "colour", wrong)
    report = check(models)
    assert report
    assert report.largest_difference == pytest.approx(0.01, abs=1e-4)
    add_samples(models / "colour", wrong, tolerance=0.005)
    assert "difference 0.0100, tolerance 0.005" in problem(models)
    report = check(models, more=0.01)
    assert report
    assert report.tolerance == 0.015


def test_a_class_that_the_framework_does_not_name_may_not_win(models: Path) -> None:
    sample = colour_sample("red")
    sample["predictions"] = sample["predictions"][1:]
    add_samples(models / "colour", sample)
    assert "the score of 'red' is 0.9999, the framework names no class above 0.0000" in problem(models)


def test_classes_are_compared_by_label_where_the_framework_has_no_ids(models: Path) -> None:
    sample = colour_sample("red")
    for prediction in sample["predictions"]:
        del prediction["class_id"]
    add_samples(models / "colour", sample)
    assert check(models)
    sample["predictions"][0]["label"] = "crimson"
    add_samples(models / "colour", sample)
    assert "there is no class 'crimson'" in problem(models)


def test_samples_of_a_version_come_before_those_of_the_model(models: Path) -> None:
    folder = add_model(models, "colour", colour_graph(gain=1), version=2)
    add_samples(folder, colour_sample("red"))
    assert check(models, number=1)
    assert "disagree" in problem(models, number=2)
    add_samples(folder / "2", colour_sample("red", gain=1))
    assert check(models, number=2)


def test_a_bare_file_has_its_samples_beside_it(models: Path) -> None:
    (models / "bare.onnx").write_bytes(colour_graph().SerializeToString())
    (models / "bare.toml").write_text(SPEC.replace("\n[pre", 'labels = ["red", "green", "blue"]\n[pre'))
    add_samples(models, colour_sample("red")).rename(models / "bare.samples")
    assert check(models, "bare")
    assert not ModelRepository(models).scan().invalid


def test_an_exporters_folder_has_samples(models: Path) -> None:
    folder = models / "export"
    (folder / "onnx").mkdir(parents=True)
    (folder / "onnx" / "model.onnx").write_bytes(colour_graph().SerializeToString())
    (folder / "model.toml").write_text(SPEC)
    add_samples(folder, colour_sample("blue"))
    assert check(models, "export")


def test_a_changed_sample_changes_the_version(models: Path) -> None:
    folder = add_samples(models / "colour", colour_sample("red"))
    before = ModelRepository(models).find("colour")
    (folder / "red.png").write_bytes((folder / "red.png").read_bytes() + b" ")
    after = ModelRepository(models).find("colour")
    assert before.signature != after.signature


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "expected.json: Invalid JSON"),
        ("[]", "expected.json: "),
        ("\0\xff", "expected.json: Invalid JSON"),
        ('{"made": {"framework": "x"}, "tolerance": 0.1, "samples": []}', "samples: Tuple should have at least 1 item"),
        ('{"made": {"framework": "x"}, "tolerance": 0, "samples": [{"file": "a", "predictions": []}]}', "tolerance: "),
        ('{"made": {"framework": "x"}, "tolerance": NaN, "samples": [{"file": "a", "predictions": []}]}', "tolerance"),
    ],
    ids=["empty", "a list", "no text", "no samples", "no tolerance", "not a number"],
)
def test_a_bad_expected_json_is_a_reason(models: Path, text: str, reason: str) -> None:
    folder = add_samples(models / "colour", colour_sample("red"))
    (folder / "expected.json").write_text(text, encoding="latin-1")
    found = problem(models)
    assert found.startswith("colour/samples/expected.json: ")
    assert reason in found


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"file": "absent.png"}, "colour/samples/absent.png is missing, and expected.json names it"),
        ({"file": "../model.toml"}, "the name of a picture in the folder is needed, got '../model.toml'"),
        ({"file": "/etc/passwd"}, "the name of a picture in the folder is needed"),
        ({"file": "note.txt"}, "colour/samples/note.txt: "),
        ({"file": "huge.png"}, "colour/samples/huge.png cannot be read: it is larger than 32 MiB"),
        ({"predictions": None, "outputs": {}}, "predictions or outputs are needed"),
        ({"predictions": [{"clas_id": 1}]}, "clas_id: unknown field"),
    ],
    ids=["absent", "outside", "absolute", "no picture", "oversize", "no answer", "unknown field"],
)
def test_a_bad_sample_is_a_reason(models: Path, changed: dict[str, Any], reason: str) -> None:
    folder = add_samples(models / "colour", colour_sample("red", **changed))
    (folder / "note.txt").write_text("no picture")
    with (folder / "huge.png").open("wb") as file:
        file.truncate(LIMIT)
    assert reason in problem(models)


def test_a_folder_without_expected_json_is_not_compared(models: Path) -> None:
    """An exporter may have a folder of that name."""
    (add_samples(models / "colour", colour_sample("red")) / "expected.json").unlink()
    assert check(models) is None


def test_an_answer_that_is_no_number_is_a_reason(models: Path) -> None:
    add_model(models, "colour", not_a_number_graph())
    add_samples(models / "colour", colour_sample("red"))
    assert "colour/samples/red.png: the model's outputs are not finite numbers" in problem(models)


def test_raw_outputs_are_compared_without_predictions(models: Path) -> None:
    raw = SPEC.replace("image-classification", "tensor")
    add_model(models, "colour", colour_graph(), spec=raw, labels=None)
    add_samples(models / "colour", colour_sample("red", predictions=None))
    assert check(models)
    add_samples(models / "colour", colour_sample("red", gain=20, predictions=None))
    assert "of the output logits, its values differ by" in problem(models)


@pytest.mark.parametrize("name", ["efficientnet-lite0", "efficientnet-lite0-embed", "picodet-s-416"])
def test_a_shipped_model_agrees_with_its_framework(name: str) -> None:
    report = check(ROOT / "models", name)
    assert report
    assert report.agreeing == report.count


def test_a_shipped_model_with_a_wrong_recipe_disagrees(tmp_path: Path) -> None:
    """tests/e2e/test_shipped_models.py has the others."""
    shutil.copytree(ROOT / "models" / "efficientnet-lite0", tmp_path / "efficientnet-lite0")
    spec = tmp_path / "efficientnet-lite0" / "model.toml"
    spec.write_text(spec.read_text().replace('color = "RGB"', 'color = "BGR"'))
    assert "part at preprocessing" in problem(tmp_path, "efficientnet-lite0")


def test_relabelled_classes_still_agree_by_their_ids(models: Path) -> None:
    add_samples(models / "colour", colour_sample("red"))
    (models / "colour" / "labels.txt").write_text("rot\ngrün\nblau\n", encoding="utf-8")
    assert check(models)
    expected = json.loads((models / "colour" / "samples" / "expected.json").read_text())
    assert expected["samples"][0]["predictions"][0]["label"] == "red"
