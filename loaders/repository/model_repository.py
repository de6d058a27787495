"""Folder -> models: which models there are, in which versions, and the files that describe each.

    models/
      efficientnet-lite0/          a model of our own layout
        model.toml                 optional: overrides anything that was inferred
        labels.txt                 optional: one label a line
        1/model.onnx               versions are whole numbers
      my-export/                   a folder as an exporter wrote it: version 1
        config.json
        onnx/model.onnx
      yolo11n.onnx                 a bare file: version 1; yolo11n.toml beside it may say more

Names that start with a dot are never looked at: uploads grow there before they are renamed into place.
"""

import errno
import re
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from loaders.model_errors import ModelFileError, UnknownModelError
from loaders.onnx.onnx_file import read_onnx
from loaders.repository.names import MODEL_NAME
from loaders.repository.specs.model_files import ModelFiles

MAX_NUMBER = 999_999_999
_NUMBER = re.compile(r"0|[1-9][0-9]{0,8}")
_SUFFIX = ".onnx"
_GRAPH = "model.onnx"
_SUBFOLDER = "onnx"
_SIDECARS = (".toml", ".json", ".txt", ".csv", ".names")
# Beyond this many files in one folder, only the graph's own changes are noticed.
_MAX_SIDECARS = 64

Signature = tuple[tuple[str, int, int], ...]


@dataclass(frozen=True, slots=True)
class ModelVersion:
    """One version on disk. `folders` may describe it, the nearest first; `graph` is the file to load.

    `numbered`: it lies in a folder of its number, so others may lie beside it.
    `signature` has path, bytes and mtime (ns) of every file that decides an answer: it changes when they do.
    """

    name: str
    number: int
    graph: Path
    folders: tuple[Path, ...]
    signature: Signature = ()
    numbered: bool = False

    @property
    def files(self) -> ModelFiles:
        """What may tell of the model."""
        return ModelFiles(self.name, self.graph, self.folders) if self.folders else ModelFiles.of_bare_file(self.graph)


Catalog = dict[str, dict[int, ModelVersion]]


class UnclearFolderError(Exception):
    """The message says why a folder is not served, and what to do."""


@dataclass(frozen=True, slots=True)
class Scan:
    """What is in the models folder. `unclear`: names that look like a model and are not served, with the reason."""

    catalog: Catalog
    unclear: dict[str, str]


class ModelRepository:
    """The models folder. Nothing is cached: what is on disk is the truth."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def scan(self) -> Scan:
        """Every model with its versions, sorted by name. Raises OSError when the folder cannot be read."""
        scan = Scan({}, {})
        scanned = self.root.stat().st_ino
        for entry in sorted(self.root.iterdir()):
            try:
                versions = _versions(entry)
                if versions and versions[0].name in scan.catalog:
                    raise UnclearFolderError(f"a folder of that name is served; rename {entry.name}")
            except UnclearFolderError as error:
                scan.unclear[entry.name] = str(error)
                continue
            if versions:
                scan.catalog[versions[0].name] = {v.number: v for v in versions}
        if self.root.stat().st_ino != scanned:
            raise FileNotFoundError(errno.ENOENT, "it was moved away while it was read")
        return scan

    def find(self, name: str, number: int | None = None) -> ModelVersion:
        """The version `number` of the model `name`, the highest when None. Raises UnknownModelError."""
        try:
            catalog = self.scan().catalog
        except OSError:
            catalog = {}
        return find_version(catalog, name, number)


def find_version(catalog: Catalog, name: str, number: int | None = None) -> ModelVersion:
    """As `ModelRepository.find`, in a catalog at hand."""
    if name not in catalog:
        raise UnknownModelError(f"model {name!r}", list(catalog))
    versions = catalog[name]
    if number is not None and number not in versions:
        raise UnknownModelError(f"version {number} of {name}", [f"version {n}" for n in sorted(versions)])
    return versions[max(versions) if number is None else number]


def _versions(entry: Path) -> list[ModelVersion]:
    """Raises UnclearFolderError."""
    if entry.name.startswith("."):
        return []
    try:
        if entry.suffix.lower() == _SUFFIX and entry.is_file():
            _check_name(entry.stem)
            return [_version(entry.stem, 1, entry, ())]
        if not entry.is_dir():
            return []
        numbered = [(int(f.name), find_graph(f)) for f in entry.iterdir() if _NUMBER.fullmatch(f.name) and f.is_dir()]
        found = [
            _version(entry.name, number, graph, (entry / str(number), entry), numbered=True)
            for number, graph in numbered
            if graph
        ]
        if found:
            _check_name(entry.name)
            return sorted(found, key=lambda version: version.number)
        graph = find_graph(entry)
        if graph:
            _check_name(entry.name)
        return [_version(entry.name, 1, graph, (entry,))] if graph else []
    except (FileNotFoundError, NotADirectoryError):  # it vanished while we looked
        return []
    except OSError as error:
        raise UnclearFolderError(f"it cannot be read: {error.strerror}") from error


def _check_name(name: str) -> None:
    if not MODEL_NAME.fullmatch(name):
        raise UnclearFolderError("a model's name has letters, digits, '.', '_' and '-' only; rename it")


def find_graph(folder: Path) -> Path | None:
    """`model.onnx`, or the only graph of the folder; exporters may put it into a folder `onnx`.

    Raises UnclearFolderError where there are several.
    """
    for place in (folder, folder / _SUBFOLDER):
        if (place / _GRAPH).is_file():
            return place / _GRAPH
    for place in (folder, folder / _SUBFOLDER):
        graphs = sorted(f for f in place.glob(f"*{_SUFFIX}") if f.is_file() and not f.name.startswith("."))
        if len(graphs) > 1:
            names = " and ".join(graph.name for graph in graphs[:2])
            raise UnclearFolderError(f"it holds {names}; name one of them {_GRAPH}, or give each a folder of its own")
        if graphs:
            return graphs[0]
    return None


def _version(name: str, number: int, graph: Path, folders: tuple[Path, ...], *, numbered: bool = False) -> ModelVersion:
    nearest = (graph.parent, *folders) if folders else ()
    places = tuple(dict.fromkeys(nearest))
    return ModelVersion(name, number, graph, places, _signature(graph, places), numbered)


def _signature(graph: Path, folders: tuple[Path, ...]) -> Signature:
    """External data beside the graph counts as much as the graph."""
    sidecars = [f for folder in folders for f in sorted(folder.iterdir()) if f.suffix in _SIDECARS and f.is_file()]
    graph_stat = graph.stat()
    weights = [graph.parent / name for name in _external_files(graph, graph_stat.st_size, graph_stat.st_mtime_ns)]
    own_spec = [f for f in [graph.with_suffix(".toml")] if not folders and f.is_file()]
    files = [graph, *weights, *own_spec, *sidecars[:_MAX_SIDECARS]]
    return tuple(mark for file in files if (mark := _mark(file)))


@lru_cache(maxsize=1024)
def _external_files(graph: Path, _size: int, _mtime_ns: int) -> tuple[str, ...]:
    """The files that hold weights, as the graph names them; read again only when the graph has changed."""
    try:
        return read_onnx(graph).external_files
    except ModelFileError:
        return ()


def _mark(file: Path) -> tuple[str, int, int] | None:
    """None for a file that vanished while we looked."""
    try:
        stat = file.stat()
    except (OSError, ValueError):
        return None
    return str(file), stat.st_size, stat.st_mtime_ns
