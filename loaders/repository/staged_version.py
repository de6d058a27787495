"""A new version of a model, written in a hidden folder and then renamed into place."""

import shutil
import uuid
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Self

from loaders.model_errors import ModelFileError, ModelStateError
from loaders.onnx.onnx_file import read_onnx
from loaders.repository.model_repository import MAX_NUMBER
from loaders.repository.names import parse_version
from utils.files import sync_folder

STAGING_PREFIX = ".upload-"
GRAPH, SPEC, LABELS = "model.onnx", "model.toml", "labels.txt"
_REMEDY = "export with external_data=False, or copy both files into models/"


@dataclass(frozen=True, slots=True)
class StagedVersion:
    """A hidden folder in the models folder that takes the files of one new version."""

    folder: Path

    @classmethod
    def create(cls, models: Path) -> Self:
        """Raises ModelStateError where the models folder cannot be written."""
        folder = models / f"{STAGING_PREFIX}{uuid.uuid4().hex}"
        try:
            folder.mkdir()
        except OSError as error:
            raise ModelStateError(f"the models folder cannot be written: {error.strerror}") from error
        return cls(folder)

    @property
    def graph(self) -> Path:
        return self.folder / GRAPH

    def check_external_data(self) -> None:
        """Raises ModelFileError unless the other files are those in which the graph has weights."""
        named = set(read_onnx(self.graph).external_files)
        if any(not is_data_file(name) for name in named):
            raise ModelFileError(f"the graph has weights in another folder: {_REMEDY}")
        sent = {file.name for file in self.folder.iterdir()} - {GRAPH, SPEC, LABELS}
        if missing := ", ".join(sorted(named - sent)):
            raise ModelFileError(f"the graph has weights in {missing}: upload that too, as `data`, {_REMEDY}")
        if unknown := ", ".join(sorted(sent - named)):
            raise ModelFileError(
                f"the graph has no weights in {unknown}, but in: {', '.join(sorted(named)) or 'itself'}"
            )

    def discard(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)

    def install(self, model: Path, number: int | None = None) -> int:
        """Renames the folder to `model/number`, without a number to the next one, and returns the number.

        Call it under the models folder's lock. Raises FileExistsError as `free_version`, and OSError.
        """
        number = free_version(model, number)
        model.mkdir(exist_ok=True)
        self.folder.rename(model / str(number))
        sync_folder(model)
        return number


def is_data_file(name: str) -> bool:
    """Whether a staged file of external weights may have this name."""
    return PurePath(name).name == name and not name.startswith(".") and name not in (GRAPH, SPEC, LABELS)


def free_version(model: Path, number: int | None = None) -> int:
    """Returns the number; None becomes the one after the highest version folder. Raises FileExistsError if taken."""
    if number is None:
        entries = model.iterdir() if model.is_dir() else ()
        number = max((found for entry in entries if (found := parse_version(entry.name)) is not None), default=0) + 1
        if number > MAX_NUMBER:
            raise FileExistsError(f"{model.name} has a version {MAX_NUMBER}, the highest; name a free one (?version=).")
    elif (model / str(number)).exists():
        raise FileExistsError(f"{model.name} has a version {number} already; versions are never overwritten.")
    return number
