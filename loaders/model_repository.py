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

import re
from dataclasses import dataclass
from pathlib import Path

from loaders.model_errors import UnknownModelError
from loaders.resolvers.model_files import ModelFiles

NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,127}")
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

    `signature` has path, bytes and mtime (ns) of every file that decides an answer: it changes when they do.
    """

    name: str
    number: int
    graph: Path
    folders: tuple[Path, ...]
    signature: Signature = ()

    @property
    def files(self) -> ModelFiles:
        """What may tell of the model."""
        return ModelFiles(self.name, self.graph, self.folders) if self.folders else ModelFiles.of_bare_file(self.graph)


Catalog = dict[str, dict[int, ModelVersion]]


class ModelRepository:
    """The models folder. Nothing is cached: what is on disk is the truth."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def scan(self) -> Catalog:
        """Every model with its versions, sorted by name. Raises OSError when the folder cannot be read."""
        catalog: Catalog = {}
        for entry in sorted(self.root.iterdir()):
            versions = _versions(entry)
            if versions:
                catalog.setdefault(versions[0].name, {v.number: v for v in versions})
        return catalog

    def find(self, name: str, number: int | None = None) -> ModelVersion:
        """The version `number` of the model `name`, the highest when None. Raises UnknownModelError."""
        try:
            catalog = self.scan()
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
    try:
        if entry.suffix == _SUFFIX and NAME.fullmatch(entry.stem) and entry.is_file():
            return [_version(entry.stem, 1, entry, ())]
        if not NAME.fullmatch(entry.name) or not entry.is_dir():
            return []
        numbered = [(int(f.name), _find_graph(f)) for f in entry.iterdir() if _NUMBER.fullmatch(f.name) and f.is_dir()]
        found = [_version(entry.name, n, graph, (entry / str(n), entry)) for n, graph in numbered if graph]
        if found:
            return sorted(found, key=lambda version: version.number)
        graph = _find_graph(entry)
        return [_version(entry.name, 1, graph, (entry,))] if graph else []
    except OSError:  # it vanished while we looked
        return []


def _find_graph(folder: Path) -> Path | None:
    """`model.onnx`, or the only graph of the folder; exporters may put it into a folder `onnx`."""
    for place in (folder, folder / _SUBFOLDER):
        if (place / _GRAPH).is_file():
            return place / _GRAPH
    for place in (folder, folder / _SUBFOLDER):
        graphs = sorted(f for f in place.glob(f"*{_SUFFIX}") if f.is_file() and not f.name.startswith("."))
        if len(graphs) == 1:
            return graphs[0]
    return None


def _version(name: str, number: int, graph: Path, folders: tuple[Path, ...]) -> ModelVersion:
    nearest = (graph.parent, *folders) if folders else ()
    places = tuple(dict.fromkeys(nearest))
    return ModelVersion(name, number, graph, places, _signature(graph, places))


def _signature(graph: Path, folders: tuple[Path, ...]) -> Signature:
    """External data beside the graph counts as much as the graph."""
    sidecars = [f for folder in folders for f in sorted(folder.iterdir()) if f.suffix in _SIDECARS and f.is_file()]
    weights = [f for f in sorted(graph.parent.glob(f"{graph.stem}*data*")) if f.is_file()]
    own_spec = [f for f in [graph.with_suffix(".toml")] if not folders and f.is_file()]
    files = [graph, *weights, *own_spec, *sidecars[:_MAX_SIDECARS]]
    return tuple(mark for file in files if (mark := _mark(file)))


def _mark(file: Path) -> tuple[str, int, int] | None:
    """None for a file that vanished while we looked."""
    try:
        stat = file.stat()
    except FileNotFoundError:
        return None
    return str(file), stat.st_size, stat.st_mtime_ns
