"""Models and versions are found in the models folder; a name never leads out of it."""

from pathlib import Path

import pytest

from engine.models.load import resolve_files
from loaders.model_errors import ModelSpecError, UnknownModelError
from loaders.repository.model_repository import ModelRepository
from tests.tiny_models import COLOURS, SPEC, add_model, colour_graph


@pytest.fixture
def repository(tmp_path: Path) -> ModelRepository:
    root = tmp_path / "models"
    for version in (1, 2, 10):
        add_model(root, "colours", colour_graph(), version=version)
    add_model(root, "Another.model_v2-x", colour_graph())
    add_model(tmp_path, "outside", colour_graph())
    return ModelRepository(root)


def test_models_are_listed_sorted(repository: ModelRepository) -> None:
    assert list(repository.scan().catalog) == ["Another.model_v2-x", "colours"]


def test_other_files_and_folders_are_not_listed(repository: ModelRepository) -> None:
    (repository.root / "empty").mkdir()
    (repository.root / "no graph" / "1").mkdir(parents=True)
    (repository.root / "README.md").write_text("models")
    for folder in ("with space", "latest only"):
        add_model(repository.root, folder, colour_graph())
    add_model(repository.root, "words", colour_graph())
    (repository.root / "words" / "1").rename(repository.root / "words" / "latest")
    assert list(repository.scan().catalog) == ["Another.model_v2-x", "colours"]


def test_a_model_toml_without_a_graph_is_invalid(repository: ModelRepository) -> None:
    for folder in ("empty", "no version"):
        (repository.root / folder).mkdir()
        (repository.root / folder / "model.toml").touch()
    (repository.root / "empty" / "1").mkdir()
    reason = "it has a model.toml and no graph; put the .onnx file at 1/model.onnx"
    assert repository.scan().invalid == {"empty": reason, "no version": reason}


def test_labels_of_a_bare_file_are_part_of_its_signature(repository: ModelRepository) -> None:
    (repository.root / "bare.onnx").write_bytes(colour_graph().SerializeToString())
    before = repository.find("bare").signature
    (repository.root / "bare.labels.txt").write_text("a\nb\nc\n")
    assert repository.find("bare").signature != before
    assert resolve_files(repository.find("bare").files).spec.labels == ("a", "b", "c")


@pytest.mark.parametrize("twin", ["10/model_int8.onnx", "10/model_quantized.onnx"])
def test_an_8_bit_twin_is_part_of_the_signature(repository: ModelRepository, twin: str) -> None:
    without, file = repository.find("colours"), repository.root / "colours" / twin
    file.write_bytes(b"8 bits")
    assert repository.find("colours") == without, "twins are looked for on request"
    found = ModelRepository(repository.root, twins=True).find("colours")
    assert (found.graph, found.twin) == (without.graph, file)
    assert [path for path, _, _ in found.signature] == [*(path for path, _, _ in without.signature), str(file)]


def test_the_twin_of_a_bare_file_is_a_model_of_its_own_too(repository: ModelRepository) -> None:
    for name in ("bare", "bare_int8"):
        (repository.root / f"{name}.onnx").write_bytes(colour_graph().SerializeToString())
    found = ModelRepository(repository.root, twins=True)
    assert found.find("bare").twin == found.find("bare_int8").graph


@pytest.mark.parametrize("folder", ["missing", "file"])
def test_a_missing_models_folder_holds_no_models(tmp_path: Path, folder: str) -> None:
    (tmp_path / "file").write_text("no folder")
    repository = ModelRepository(tmp_path / folder)
    with pytest.raises(OSError, match=r"No such|Not a"):
        repository.scan()
    with pytest.raises(UnknownModelError, match="There is: none"):
        repository.find("colours")


def test_without_a_number_the_highest_version_is_found(repository: ModelRepository) -> None:
    highest, second = repository.find("colours"), repository.find("colours", 2)
    assert (highest.number, second.number) == (10, 2)
    assert highest.graph == repository.root / "colours" / "10" / "model.onnx"
    assert second.folders == (repository.root / "colours" / "2", repository.root / "colours")


@pytest.mark.parametrize("name", ["01", "-1", "1.0", "one", "٣", "1" * 10])
def test_a_version_is_a_whole_number_without_leading_zeros(repository: ModelRepository, name: str) -> None:
    (repository.root / "colours" / "10").rename(repository.root / "colours" / name)
    assert repository.find("colours").number == 2


def test_version_0_is_valid(repository: ModelRepository) -> None:
    add_model(repository.root, "zero", colour_graph(), version=0)
    assert repository.find("zero").number == 0
    assert repository.find("zero", 0).number == 0


def test_an_unknown_version_fails_with_the_known_ones(repository: ModelRepository) -> None:
    with pytest.raises(UnknownModelError, match=r"no version 3 of colours.*version 1, version 2, version 10"):
        repository.find("colours", 3)


@pytest.mark.parametrize(
    "name",
    [
        "", ".", "..", "../outside", "../models/colours", "colours/", "colours/1", "./colours", "/etc", "colours\0",
        "\0", "colours\n", "COLOURS", "*", "a\\b", "x" * 5000, "\ud800",
    ],
)  # fmt: skip
def test_an_invalid_name_is_unknown(repository: ModelRepository, name: str) -> None:
    with pytest.raises(UnknownModelError) as error:
        repository.find(name)
    assert error.value.known == ("Another.model_v2-x", "colours")


def test_new_models_and_versions_are_found_at_once(repository: ModelRepository) -> None:
    add_model(repository.root, "colours", colour_graph(), version=11)
    add_model(repository.root, "new", colour_graph())
    assert repository.find("colours").number == 11
    assert "new" in list(repository.scan().catalog)


def test_a_spec_takes_its_labels_from_labels_txt(repository: ModelRepository) -> None:
    assert resolve_files(repository.find("colours").files).spec.labels == COLOURS


@pytest.mark.parametrize(
    ("text", "labels"),
    [
        (b"a\nb\n", ("a", "b")),
        (b"a\nb", ("a", "b")),
        (b"a\r\nb\r\n", ("a", "b")),
        ("Käse\n犬, いぬ\n".encode(), ("Käse", "犬, いぬ")),
        ("one\u2028line\nnext\x0cpage\n".encode(), ("one\u2028line", "next\x0cpage")),
        (b"a\n\nb\n", ("a", "", "b")),
        (b"", ()),
    ],
)
def test_a_label_is_a_line(repository: ModelRepository, text: bytes, labels: tuple[str, ...]) -> None:
    (repository.root / "colours" / "labels.txt").write_bytes(text)
    assert resolve_files(repository.find("colours").files).spec.labels == labels


def test_labels_in_model_toml_come_before_labels_txt(repository: ModelRepository) -> None:
    (repository.root / "colours" / "model.toml").write_text('labels = ["r", "g", "b"]\n' + SPEC)
    assert resolve_files(repository.find("colours").files).spec.labels == ("r", "g", "b")


def test_a_model_may_have_no_labels(repository: ModelRepository) -> None:
    (repository.root / "colours" / "labels.txt").unlink()
    assert resolve_files(repository.find("colours").files).spec.labels == ()


def test_labels_that_are_not_utf_8_fail(repository: ModelRepository) -> None:
    (repository.root / "colours" / "labels.txt").write_bytes(b"caf\xe9\n")
    with pytest.raises(ModelSpecError, match=r"colours/labels\.txt"):
        resolve_files(repository.find("colours").files)


def test_without_a_model_toml_the_graph_and_the_labels_decide(repository: ModelRepository) -> None:
    (repository.root / "colours" / "model.toml").unlink()
    resolved = resolve_files(repository.find("colours").files)
    assert (resolved.spec.task, resolved.spec.labels) == ("image-classification", COLOURS)
    assert any("mean" in warning for warning in resolved.warnings)


@pytest.mark.parametrize("text", [b"task = ", b"task = 'a'\ntask = 'b'\n", b"# caf\xe9\n", b"\x00"])
def test_an_invalid_model_toml_fails_with_its_path(repository: ModelRepository, text: bytes) -> None:
    (repository.root / "colours" / "model.toml").write_bytes(text)
    with pytest.raises(ModelSpecError, match=r"colours/model\.toml is not valid TOML"):
        resolve_files(repository.find("colours").files)


def test_an_error_names_the_file_below_the_models_folder(repository: ModelRepository) -> None:
    (repository.root / "colours" / "10" / "model.toml").write_text("task = 1\n")
    with pytest.raises(ModelSpecError, match=r"^colours/10/model\.toml: task: "):
        resolve_files(repository.find("colours").files)
    (repository.root / "bare.onnx").write_bytes(colour_graph().SerializeToString())
    (repository.root / "bare.toml").write_text("task = 1\n")
    with pytest.raises(ModelSpecError, match=r"^bare\.toml: task: "):
        resolve_files(repository.find("bare").files)
