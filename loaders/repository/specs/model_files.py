"""Reads the files around a graph, written by an exporter or the operator."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from loaders.model_errors import ModelSpecError
from utils.files import read_at_most

MAX_SIDECAR_BYTES = 8 << 20
MODEL_TOML = "model.toml"
LABELS_TXT = "labels.txt"
_ONNX_FOLDER = "onnx"  # where exporters for the browser put the graph, with the JSON one level up


@dataclass(frozen=True, slots=True)
class ModelFiles:
    """`name` of the model. `folders` are searched in order, from the graph's folder to the model's.

    `spec_file` is "model.toml", or "<name>.toml" for a bare file.
    """

    name: str
    graph: Path
    folders: tuple[Path, ...]
    spec_file: str = MODEL_TOML

    @classmethod
    def of_folder(cls, graph: Path, model_folder: Path) -> Self:
        """For a graph in its model's folder, in that of a version, or in `onnx/` below either."""
        folders = [graph.parent]
        if graph.parent.name == _ONNX_FOLDER:
            folders.append(graph.parent.parent)
        if model_folder not in folders:
            folders.append(model_folder)
        return cls(model_folder.name, graph, tuple(folders))

    @classmethod
    def of_bare_file(cls, graph: Path) -> Self:
        """For `yolo11n.onnx` among other models; only `yolo11n.toml` belongs to it."""
        return cls(graph.stem, graph, (), f"{graph.stem}.toml")

    @property
    def labels_file(self) -> str:
        """ "labels.txt"; "<name>.labels.txt" for a bare file, or the "labels.txt" beside the only one in a folder."""
        if self.folders:
            return LABELS_TXT
        own = f"{self.graph.stem}.{LABELS_TXT}"
        alone = not (self.graph.parent / own).is_file() and len(list(self.graph.parent.glob("*.onnx"))) == 1
        return LABELS_TXT if alone and (self.graph.parent / LABELS_TXT).is_file() else own

    def read_own(self, file: str, expected: str = "a text file") -> str | None:
        """Reads `spec_file` or `labels_file`. Raises ModelSpecError, like the other methods."""
        return self._read(file, self.folders or (self.graph.parent,), expected)

    def read_text(self, file: str) -> str | None:
        """Returns the nearest file of that name, or None."""
        return self._read(file, self.folders)

    def read_json(self, file: str) -> object:
        """Returns None if there is no such file."""
        text = self._read(file, self.folders, "valid JSON")
        if text is None:
            return None
        try:
            return json.loads(text)
        except (ValueError, RecursionError) as error:
            reason = str(error) or "it is nested too deeply"
            raise ModelSpecError(f"{self.where(file)} is not valid JSON: {reason}") from error

    def read_object(self, file: str) -> Mapping[str, object] | None:
        """Returns None if there is no such file, or if it is not a JSON object."""
        data = self.read_json(file)
        return data if isinstance(data, dict) else None

    def with_suffix(self, suffix: str) -> str | None:
        """Returns the name of the nearest such file; of several in one folder, the first by name."""
        found = (path.name for folder in self.folders for path in sorted(folder.glob(f"*{suffix}")))
        return next(found, None)

    def where(self, file: str) -> str:
        """Returns the path of the nearest such file below the models folder, for errors."""
        folders = self.folders or (self.graph.parent,)
        path = _nearest(file, folders)
        models = folders[-1].parent if self.folders else folders[-1]
        is_staged = path is not None and path.parent.name.startswith(".")  # an upload that is not in place yet
        if path is None or is_staged or not path.is_relative_to(models):
            return f"{self.name}/{file}"
        return path.relative_to(models).as_posix()

    def _read(self, file: str, folders: Sequence[Path], expected: str = "a text file") -> str | None:
        path = _nearest(file, folders)
        if path is None:
            return None
        try:
            data = read_at_most(path, MAX_SIDECAR_BYTES)
        except OSError as error:
            raise ModelSpecError(f"{self.where(file)} cannot be read: {error.strerror}") from error
        try:
            return data.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            raise ModelSpecError(f"{self.where(file)} is not {expected}: it is not UTF-8, {error.reason}") from error


def _nearest(file: str, folders: Sequence[Path]) -> Path | None:
    return next((folder / file for folder in folders if (folder / file).is_file()), None)
