"""The files around a graph: what an exporter or an operator wrote beside it."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from loaders.model_errors import ModelSpecError

MAX_SIDECAR_BYTES = 8 << 20
MODEL_TOML = "model.toml"
_ONNX_FOLDER = "onnx"  # where exporters for the browser put the graph, with the JSON one level up


@dataclass(frozen=True, slots=True)
class ModelFiles:
    """`name`: the model's, for messages. `folders`: where to look for a file, the nearest to the graph first.

    `spec_file`: what is read as `model.toml`; a graph that shares its folder with others has one of its own name.
    """

    name: str
    graph: Path
    folders: tuple[Path, ...]
    spec_file: str = MODEL_TOML

    @classmethod
    def of_folder(cls, graph: Path, model_folder: Path) -> Self:
        """A graph in its model's folder, or in that of a version, or in `onnx/` below either."""
        folders = [graph.parent]
        if graph.parent.name == _ONNX_FOLDER:
            folders.append(graph.parent.parent)
        if model_folder not in folders:
            folders.append(model_folder)
        return cls(model_folder.name, graph, tuple(folders))

    @classmethod
    def of_bare_file(cls, graph: Path) -> Self:
        """`yolo11n.onnx` among other models: nothing beside it is its own, but for `yolo11n.toml`."""
        return cls(graph.stem, graph, (), f"{graph.stem}.toml")

    def path_below_models(self, file: str) -> str:
        """Returns the path of the nearest such file relative to the models folder, for messages."""
        path = self._find(file, self.folders or (self.graph.parent,))
        root = self.folders[-1].parent if self.folders else self.graph.parent
        is_staged = path is not None and path.parent.name.startswith(".")  # an upload, not in place yet
        if path is None or is_staged or not path.is_relative_to(root):
            return f"{self.name}/{file}"
        return path.relative_to(root).as_posix()

    def read_spec_file(self) -> str | None:
        """Raises ModelSpecError, as the others do."""
        folders = self.folders or (self.graph.parent,)
        return self._read(self.spec_file, folders, "valid TOML")

    def read_text(self, file: str) -> str | None:
        """The nearest file of that name, None where there is none."""
        return self._read(file, self.folders)

    def read_json(self, file: str) -> object:
        """None where there is none."""
        text = self._read(file, self.folders, "valid JSON")
        if text is None:
            return None
        try:
            return json.loads(text)
        except (ValueError, RecursionError) as error:
            reason = str(error) or "it is nested too deeply"
            raise ModelSpecError(f"{self.path_below_models(file)} is not valid JSON: {reason}") from error

    def read_object(self, file: str) -> Mapping[str, object] | None:
        """A JSON object; None where there is no such file, or where it holds something else."""
        data = self.read_json(file)
        return data if isinstance(data, dict) else None

    def with_suffix(self, suffix: str) -> str | None:
        """The name of the nearest such file, of several in one folder the first by name."""
        found = (path.name for folder in self.folders for path in sorted(folder.glob(f"*{suffix}")))
        return next(found, None)

    def _read(self, file: str, folders: Sequence[Path], expected: str = "a text file") -> str | None:
        path = self._find(file, folders)
        if path is None:
            return None
        try:
            with path.open("rb") as stream:
                data = stream.read(MAX_SIDECAR_BYTES + 1)
        except OSError as error:
            raise ModelSpecError(f"{self.path_below_models(file)} cannot be read: {error.strerror}") from error
        if len(data) > MAX_SIDECAR_BYTES:
            raise ModelSpecError(f"{self.path_below_models(file)} is larger than {MAX_SIDECAR_BYTES >> 20} MiB")
        try:
            return data.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            raise ModelSpecError(
                f"{self.path_below_models(file)} is not {expected}: no UTF-8, {error.reason}"
            ) from error

    @staticmethod
    def _find(file: str, folders: Sequence[Path]) -> Path | None:
        return next((folder / file for folder in folders if (folder / file).is_file()), None)
