from pathlib import Path

import pytest

from loaders.file_digest import file_digest
from loaders.model_errors import ModelFileError


def test_digest_changes_with_the_file(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"one")
    one = file_digest(file)
    file.write_bytes(b"two")
    assert file_digest(file) != one
    assert len(one) == 64


def test_digest_of_a_missing_file_raises_model_file_error(tmp_path: Path) -> None:
    with pytest.raises(ModelFileError, match=r"^model\.onnx cannot be read: No such file or directory$"):
        file_digest(tmp_path / "model.onnx")
