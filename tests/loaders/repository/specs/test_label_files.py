"""Labels from every kind of label file."""

from pathlib import Path

import pytest

from loaders.model_errors import ModelSpecError
from loaders.onnx.onnx_file import read_onnx
from loaders.repository.specs import ModelFiles, resolve
from loaders.repository.specs.model_spec import Activation, Color, Resize
from tests.loaders.repository.specs.graphs import classifier, export, understood

TAGS = 'tag_id,name,category,count\n9,general,9,1\n0,"1girl, solo",0,2\n4,hatsune_miku,4,3\n'


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("labels.txt", "cat\ndog\n"),
        ("labels.txt", "\ufeffcat\r\ndog"),
        ("labels.json", ["cat", "dog"]),
        ("labels.json", {"1": "dog", "0": "cat"}),
        ("synset.txt", "n02121808 cat\nn02084071 dog\n"),
        ("imagenet_class_index.json", {"0": ["n02121808", "cat"], "1": ["n02084071", "dog"]}),
        ("coco.names", "cat\ndog\n"),
        ("classes.txt", "cat\ndog\n"),
    ],
)
def test_labels_are_read_from(tmp_path: Path, file: str, content: object) -> None:
    resolved = understood(tmp_path, classifier(tmp_path / "model.onnx", 2), {file: content})
    assert resolved.spec.labels == ("cat", "dog")
    assert resolved.decided_by["labels"] == file


def test_labels_txt_comes_before_what_the_export_says(tmp_path: Path) -> None:
    files = {"labels.txt": "cat\ndog\n", "config.json": {"id2label": {"0": "LABEL_0", "1": "LABEL_1"}}}
    resolved = understood(tmp_path, classifier(tmp_path / "model.onnx", 2), files)
    assert (resolved.spec.labels, resolved.decided_by["labels"]) == (("cat", "dog"), "labels.txt")


@pytest.mark.parametrize("file", ["pets.labels.txt", "labels.txt"])
def test_bare_file_has_its_labels_beside_it(tmp_path: Path, file: str) -> None:
    classifier(graph := tmp_path / "pets.onnx", 2)
    (tmp_path / file).write_text("cat\ndog\n")
    resolved = resolve(ModelFiles.of_bare_file(graph), read_onnx(graph))
    assert (resolved.spec.labels, resolved.decided_by["labels"]) == (("cat", "dog"), file)


def test_labels_txt_among_several_bare_files_belongs_to_none(tmp_path: Path) -> None:
    classifier(graph := tmp_path / "pets.onnx", 2)
    classifier(tmp_path / "cars.onnx", 2)
    (tmp_path / "labels.txt").write_text("cat\ndog\n")
    resolved = resolve(ModelFiles.of_bare_file(graph), read_onnx(graph))
    assert resolved.spec.labels == ()
    assert any("put pets.labels.txt beside pets.onnx" in warning for warning in resolved.warnings)
    assert not any("model.toml" in warning for warning in resolved.warnings)


def test_missing_class_ids_are_numbered(tmp_path: Path) -> None:
    resolved = understood(tmp_path, classifier(tmp_path / "model.onnx", 3), {"labels.json": {"0": "cat", "2": "dog"}})
    assert resolved.spec.labels == ("cat", "class 1", "dog")


def test_tensorflow_tagger_preprocessing(tmp_path: Path) -> None:
    graph = export(tmp_path / "model.onnx", {"in": ("n", 448, 448, 3)}, {"out": ("n", 3)}, last_op="Sigmoid")
    spec = understood(tmp_path, graph, {"selected_tags.csv": TAGS}).spec
    assert spec.labels == ("general", "1girl, solo", "hatsune_miku")
    assert (spec.activation, spec.score_threshold) == (Activation.NONE, 0.35)
    preprocess = spec.preprocess
    assert (preprocess.layout, preprocess.color, preprocess.pad_value) == ("NHWC", Color.BGR, 255)
    assert (preprocess.resize, preprocess.rescale_factor, preprocess.mean) == (Resize.LETTERBOX, 1.0, (0.0,))


def test_tagger_of_another_layout_gets_labels_alone(tmp_path: Path) -> None:
    spec = understood(tmp_path, classifier(tmp_path / "model.onnx", 3), {"selected_tags.csv": TAGS}).spec
    assert (spec.activation, spec.preprocess.color) == (Activation.SIGMOID, Color.RGB)


@pytest.mark.parametrize(
    ("file", "content", "problem"),
    [
        ("labels.json", {"-1": "cat"}, "expected class ids"),
        ("labels.json", {"999999999": "cat"}, "expected class ids"),
        ("labels.json", {"one": "cat"}, "expected class ids"),
        ("labels.json", "[", "not valid JSON"),
        ("selected_tags.csv", "a,b\n1,2\n", "no column 'name'"),
        ("labels.txt", "x\n" * 100_001, "more than 100000 labels"),
    ],
)
def test_invalid_label_file_is_rejected(tmp_path: Path, file: str, content: object, problem: str) -> None:
    with pytest.raises(ModelSpecError, match=problem) as error:
        understood(tmp_path, classifier(tmp_path / "model.onnx"), {file: content})
    assert file in str(error.value)


def test_labels_that_are_no_text_are_told(tmp_path: Path) -> None:
    (tmp_path / "labels.txt").write_bytes(b"caf\xe9\n")
    with pytest.raises(ModelSpecError, match=r"/labels\.txt is not a text file"):
        understood(tmp_path, classifier(tmp_path / "model.onnx"))
