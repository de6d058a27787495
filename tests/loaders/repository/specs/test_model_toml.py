"""Specs with model.toml, which wins over other sources."""

from pathlib import Path

import pytest

from loaders.model_errors import ModelSpecError
from loaders.repository.specs import ModelFiles, resolve
from loaders.repository.specs.model_spec import TaskName
from tests.loaders.repository.specs.graphs import classifier, export, understood, values

TOML = "model.toml"


def test_toml_line_overrides_one_field(tmp_path: Path) -> None:
    graph = classifier(tmp_path / "model.onnx")
    before = understood(tmp_path, graph)
    after = understood(tmp_path, graph, {TOML: '[preprocess]\ncolor = "BGR"'})
    changed = {field for field in before.decided_by if values(before, field) != values(after, field)}
    assert changed == {"preprocess.color"}
    assert after.decided_by["preprocess.color"] == TOML


def test_toml_wins_over_every_file(tmp_path: Path) -> None:
    files = {
        TOML: 'labels = ["a", "b"]\n[preprocess]\nmean = [0.1]',
        "labels.txt": "x\ny\n",
        "preprocessor_config.json": {"image_processor_type": "ViTImageProcessor"},
    }
    resolved = understood(tmp_path, classifier(tmp_path / "model.onnx", 2), files)
    assert values(resolved, "labels", "preprocess.mean", "preprocess.std") == [("a", "b"), (0.1,), (0.5, 0.5, 0.5)]


def test_partial_normalisation_is_not_completed_by_guesses(tmp_path: Path) -> None:
    files = {TOML: "[preprocess]\nrescale_factor = 1.0"}
    resolved = understood(tmp_path, classifier(tmp_path / "model.onnx"), files)
    assert values(resolved, "preprocess.mean", "preprocess.std") == [(0.0,), (1.0,)]
    assert resolved.decided_by["preprocess.mean"] == "default"


def test_given_task_limits_the_guesses(tmp_path: Path) -> None:
    graph = classifier(tmp_path / "model.onnx", 512)
    resolved = understood(tmp_path, graph, {TOML: 'task = "image-feature-extraction"'})
    assert resolved.spec.activation == "none"
    assert resolved.spec.labels == ()
    assert understood(tmp_path, graph, {TOML: 'task = "tensor"'}).spec.task is TaskName.TENSOR


def test_given_layout_decides_which_dimensions_are_sides(tmp_path: Path) -> None:
    graph = export(tmp_path / "model.onnx", {"x": ("n", 3, 64, 3)}, {"y": ("n", 7)})
    resolved = understood(tmp_path, graph, {TOML: '[preprocess]\nlayout = "NHWC"'})
    assert resolved.spec.preprocess.size == (3, 64)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ('taste = "sweet"', "taste"),
        ("[preprocess]\nstdd = [1]", "preprocess.stdd"),
        ("[preprocess]\nstd = [0]", "preprocess.std: "),
        ("preprocess = 3", "preprocess"),
        ('task = "cooking"', "task: .*, got 'cooking'"),
        ("task = ", "is not valid TOML"),
        ("[preprocess]\nmean = [1, 2]", "mean has 2 values"),
    ],
)
def test_error_names_file_and_field(tmp_path: Path, text: str, problem: str) -> None:
    with pytest.raises(ModelSpecError, match=problem) as error:
        understood(tmp_path, classifier(tmp_path / "model.onnx"), {TOML: text})
    assert str(error.value).startswith(f"{tmp_path.name}/model.toml")
    assert "\n" not in str(error.value)


def test_error_has_the_path_below_the_models_folder(tmp_path: Path) -> None:
    graph = classifier(tmp_path / "cls" / "2" / "model.onnx")
    (tmp_path / "cls" / "2" / TOML).write_text("task = 3")
    (tmp_path / "bare.toml").write_text("task = 3")
    with pytest.raises(ModelSpecError, match=r"^cls/2/model\.toml: task: "):
        resolve(ModelFiles.of_folder(tmp_path / "cls" / "2" / "model.onnx", tmp_path / "cls"), graph)
    with pytest.raises(ModelSpecError, match=r"^bare\.toml: task: "):
        resolve(ModelFiles.of_bare_file(tmp_path / "bare.onnx"), graph)


def test_toml_that_is_not_utf_8_is_rejected(tmp_path: Path) -> None:
    (tmp_path / TOML).write_bytes(b"# caf\xe9\n")
    with pytest.raises(ModelSpecError, match=r"/model\.toml is not valid TOML"):
        understood(tmp_path, classifier(tmp_path / "model.onnx"))


def test_fields_that_conflict_with_other_files_are_rejected(tmp_path: Path) -> None:
    graph = export(tmp_path / "model.onnx", {"x": ("n", 1, 8, 8)}, {"y": ("n", 7)})
    with pytest.raises(ModelSpecError, match="GRAY needs 1"):
        understood(tmp_path, graph, {TOML: "[preprocess]\nmean = [1, 2, 3]"})


def test_bare_file_reads_only_the_toml_of_its_name(tmp_path: Path) -> None:
    graph = classifier(tmp_path / "yolo.onnx", 2)
    (tmp_path / "yolo.toml").write_text('activation = "sigmoid"')
    (tmp_path / TOML).write_text('activation = "none"')
    resolved = resolve(ModelFiles.of_bare_file(tmp_path / "yolo.onnx"), graph)
    assert values(resolved, "activation") == ["sigmoid"]
    assert resolved.decided_by["activation"] == "yolo.toml"
