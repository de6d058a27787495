"""Files that became named pipes after the scan of the models folder: an error, never a reader that waits."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from loaders.file_digest import file_digest
from loaders.model_errors import ModelFileError, ModelSampleError, ModelSpecError
from loaders.onnx.onnx_file import read_onnx
from loaders.repository.samples import SampleFolder
from loaders.repository.specs.model_files import ModelFiles

pytestmark = pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")


def _read_spec(file: Path) -> object:
    return ModelFiles("a", file.with_name("model.onnx"), (file.parent,)).read_own(file.name)


def _read_samples(file: Path) -> object:
    return SampleFolder(file.parent, "a/samples").read()


@pytest.mark.parametrize(
    ("name", "read", "error"),
    [
        ("model.onnx", file_digest, ModelFileError),
        ("model.onnx", read_onnx, ModelFileError),
        ("model.toml", _read_spec, ModelSpecError),
        ("expected.json", _read_samples, ModelSampleError),
    ],
)
def test_a_file_that_became_a_named_pipe_is_an_error(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    read: Callable[[Path], object],
    error: type[Exception],
) -> None:
    file = tmp_path / name
    before = Path(__file__).stat()
    os.mkfifo(file)
    monkeypatch.setattr(Path, "is_file", lambda _: True)  # it was one when the folder was scanned
    monkeypatch.setattr(Path, "stat", lambda _: before)
    with pytest.raises(error, match="not a regular file"):
        read(file)
