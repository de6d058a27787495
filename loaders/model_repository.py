"""Folder -> models: which models there are, which versions, and what `model.toml` says of them.

models/
  efficientnet-lite0/
    model.toml
    labels.txt        optional
    1/model.onnx      versions are whole numbers; the highest is served unless told otherwise
"""

import re
import tomllib
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from loaders.model_errors import ModelSpecError, UnknownModelError
from loaders.model_spec import ModelSpec

_NAME = re.compile(r"[A-Za-z0-9._-]+")
_SPEC_FILE = "model.toml"
_LABELS_FILE = "labels.txt"
_GRAPH_FILE = "model.onnx"


@dataclass(frozen=True, slots=True)
class ModelVersion:
    """One version on disk. `name` and `number` identify it; `folder` holds the spec, `graph` is the file to load."""

    name: str
    number: int
    folder: Path
    graph: Path


class ModelRepository:
    """The models folder. Nothing is cached: what is on disk is the truth."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def names(self) -> list[str]:
        """Every folder with at least one version in it, sorted."""
        if not self.root.is_dir():
            return []
        folders = (folder for folder in self.root.iterdir() if folder.is_dir() and _NAME.fullmatch(folder.name))
        return sorted(folder.name for folder in folders if _version_numbers(folder))

    def find(self, name: str, number: int | None = None) -> ModelVersion:
        """The version `number` of the model `name`, the highest when None. Raises UnknownModelError."""
        if name not in (names := self.names()):
            raise UnknownModelError(f"model {name!r}", names)
        folder = self.root / name
        numbers = _version_numbers(folder)
        if number is not None and number not in numbers:
            raise UnknownModelError(f"version {number} of {name}", [f"version {n}" for n in numbers])
        found = max(numbers) if number is None else number
        return ModelVersion(name, found, folder, folder / str(found) / _GRAPH_FILE)


def read_spec(version: ModelVersion) -> ModelSpec:
    """Raises ModelSpecError, naming the field and what it may be."""
    file = version.folder / _SPEC_FILE
    try:
        fields = tomllib.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ModelSpecError(f"{version.name} has no {_SPEC_FILE}, which says its task and preprocessing") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ModelSpecError(f"{version.name}/{_SPEC_FILE} is not valid TOML: {error}") from error
    fields.setdefault("labels", _read_labels(version.folder / _LABELS_FILE))
    try:
        return ModelSpec.model_validate(fields)
    except ValidationError as error:
        raise ModelSpecError(f"{version.name}/{_SPEC_FILE}: {_first_problem(error)}") from error


def _version_numbers(folder: Path) -> list[int]:
    """A version's folder is named by a whole number as people write it: "10", not "010"."""
    names = (path.parent.name for path in folder.glob(f"*/{_GRAPH_FILE}"))
    return sorted(int(name) for name in names if re.fullmatch(r"0|[1-9][0-9]{0,17}", name))


def _read_labels(file: Path) -> tuple[str, ...]:
    """Lines end at a newline alone: a label may hold any other character."""
    if not file.is_file():
        return ()
    try:
        with file.open(encoding="utf-8") as lines:
            return tuple(line.removesuffix("\n") for line in lines)
    except UnicodeDecodeError as error:
        raise ModelSpecError(f"{file.parent.name}/{file.name} is not UTF-8 text: {error}") from error


def _first_problem(error: ValidationError) -> str:
    problem = error.errors(include_url=False)[0]
    field = ".".join(str(part) for part in problem["loc"])
    return f"{field}: {problem['msg']}" if field else problem["msg"]
