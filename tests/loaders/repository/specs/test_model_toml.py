"""What the operator writes wins, and may be as little as one line."""

from pathlib import Path

import pytest

from loaders.model_errors import ModelSpecError
from loaders.repository.specs import ModelFiles, resolve
from loaders.repository.specs.model_spec import TaskName
from tests.loaders.repository.specs.graphs import classifier, export, understood, values

TOML = "model.toml"


def test_one_line_changes_one_field(tmp_path: Path) -> None:
    graph = classifier(tmp_path / "model.onnx")
    before = understood(tmp_path, graph)
    after = understood(tmp_path, graph, {TOML: '[preprocess]\ncolor = "BGR"'})
    changed = {field for field in before.decided_by if values(before, field) != values(after, field)}
    assert changed == {"preprocess.color"}
    assert after.decided_by["preprocess.color"] == TOML


def test_it_wins_over_every_file(tmp_path: Path) -> None:
    files = {
        TOML: 'labels = ["a", "b"]\n[preprocess]\nmean = [0.1]',
        "labels.txt": "x\ny\n",
        "preprocessor_config.json": {"image_processor_type": "ViTImageProcessor"},
    }
    resolved = understood(tmp_path, classifier(tmp_path / "model.onnx", 2), files)
    assert values(resolved, "labels", "preprocess.mean", "preprocess.std") == [("a", "b"), (0.1,), (0.5, 0.5, 0.5)]


def test_normalisation_is_not_guessed_in_halves(tmp_path: Path) -> None:
    files = {TOML: "[preprocess]\nrescale_factor = 1.0"}
    resolved = understood(tmp_path, classifier(tmp_path / "model.onnx"), files)
    assert values(resolved, "preprocess.mean", "preprocess.std") == [(0.0,), (1.0,)]
    assert resolved.decided_by["preprocess.mean"] == "default"


def test_a_task_narrows_the_guess(tmp_path: Path) -> None:
    graph = classifier(tmp_path / "model.onnx", 512)
    resolved = understood(tmp_path, graph, {TOML: 'task = "image-feature-extraction"'})
    assert resolved.spec.activation == "none"
    assert resolved.spec.labels == ()
    assert understood(tmp_path, graph, {TOML: 'task = "tensor"'}).spec.task is TaskName.TENSOR


def test_a_layout_that_is_said_places_the_sides(tmp_path: Path) -> None:
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
        ('task = "cooking"', "task"),
        ("task = ", "is not valid TOML"),
        ("[preprocess]\nmean = [1, 2]", "mean has 2 values"),
    ],
)
def test_an_error_names_file_and_field(tmp_path: Path, text: str, problem: str) -> None:
    with pytest.raises(ModelSpecError, match=problem) as error:
        understood(tmp_path, classifier(tmp_path / "model.onnx"), {TOML: text})
    assert str(error.value).startswith(f"{tmp_path.name}/model.toml")
    assert "\n" not in str(error.value)


def test_bytes_that_are_no_text_are_told(tmp_path: Path) -> None:
    (tmp_path / TOML).write_bytes(b"# caf\xe9\n")
    with pytest.raises(ModelSpecError, match=r"/model\.toml is not valid TOML"):
        understood(tmp_path, classifier(tmp_path / "model.onnx"))


def test_what_fits_only_alone_is_told(tmp_path: Path) -> None:
    graph = export(tmp_path / "model.onnx", {"x": ("n", 1, 8, 8)}, {"y": ("n", 7)})
    with pytest.raises(ModelSpecError, match="GRAY needs 1"):
        understood(tmp_path, graph, {TOML: "[preprocess]\nmean = [1, 2, 3]"})


def test_a_bare_file_has_a_toml_of_its_own_name_and_nothing_else(tmp_path: Path) -> None:
    graph = classifier(tmp_path / "yolo.onnx", 2)
    (tmp_path / "yolo.toml").write_text('activation = "sigmoid"')
    (tmp_path / TOML).write_text('activation = "none"')
    (tmp_path / "labels.txt").write_text("some\nother model's\n")
    resolved = resolve(ModelFiles.of_bare_file(tmp_path / "yolo.onnx"), graph)
    assert values(resolved, "activation", "labels") == ["sigmoid", ()]
    assert resolved.decided_by["activation"] == "yolo.toml"
