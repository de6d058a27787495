"""Reads the models folder: its models, their versions, and the files that describe each version.

    models/
      efficientnet-lite0/          a model of our own layout
        model.toml                 optional: overrides anything that was inferred
        labels.txt                 optional: one label a line
        1/model.onnx               versions are whole numbers
      my-export/                   a folder as an exporter wrote it: version 1
        config.json
        onnx/model.onnx
      yolo11n.onnx                 a bare file: version 1; yolo11n.toml and yolo11n.labels.txt beside it may say more

An 8-bit twin of `model.onnx` is `model_int8.onnx` or `model_quantized.onnx` beside it, as Optimum names them.

Names that start with a dot are skipped: new versions are written there and then renamed into place.
"""

import errno
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

from loaders.model_errors import ModelFileError, UnknownModelError
from loaders.onnx.onnx_file import read_onnx
from loaders.repository.names import MODEL_NAME, parse_version
from loaders.repository.samples import SampleFolder, sample_files, samples_folder
from loaders.repository.specs.model_files import MODEL_TOML, ModelFiles

MAX_NUMBER = 999_999_999
_SUFFIX = ".onnx"
_GRAPH = "model.onnx"
_SUBFOLDER = "onnx"
_TWINS = ("_int8", "_quantized")
_SIDECARS = (".toml", ".json", ".txt", ".csv", ".names")
# Maximum files per folder that count towards a version's signature.
_MAX_SIDECARS = 64

Signature = tuple[tuple[str, int, int], ...]
# A model's name and a version's number.
ModelKey = tuple[str, int]


@dataclass(frozen=True, slots=True)
class ModelVersion:
    """One version on disk. `graph` is the file to load; `folders` hold files that describe it, the nearest first.

    `numbered`: the version has a folder named by its number, so the model can have more versions.
    `signature`: path, bytes and mtime (ns) of every file that decides an answer. `twin`: the same model in 8 bits.
    """

    name: str
    number: int
    graph: Path
    folders: tuple[Path, ...]
    signature: Signature = ()
    numbered: bool = False
    twin: Path | None = None

    @property
    def key(self) -> ModelKey:
        return self.name, self.number

    @property
    def files(self) -> ModelFiles:
        """The files from which the model's spec is resolved."""
        return ModelFiles(self.name, self.graph, self.folders) if self.folders else ModelFiles.of_bare_file(self.graph)

    @property
    def samples(self) -> SampleFolder | None:
        """Pictures with the framework's answers, if they lie beside the model."""
        folder = samples_folder(self.graph, self.folders)
        if folder is None:
            return None
        return SampleFolder(folder, f"{self.name}/{folder.name}" if self.folders else folder.name)


Catalog = dict[str, dict[int, ModelVersion]]


class InvalidFolderError(Exception):
    """A folder or file that looks like a model and cannot be served; the message says why, and what to do."""


class NoGraphError(InvalidFolderError):
    """A folder that describes a model and has no graph, as after the deletion of its last version."""

    def __init__(self) -> None:
        super().__init__(f"it has a {MODEL_TOML} and no graph; put the .onnx file at 1/{_GRAPH}")


@dataclass(frozen=True, slots=True)
class Scan:
    """The content of the models folder. `invalid`: the reason for each entry that looks like a model and is not one.

    `empty`: those of `invalid` that have no graph.
    """

    catalog: Catalog
    invalid: dict[str, str]
    empty: set[str]


class ModelRepository:
    """The models folder; every call reads the disk. `twins`: whether versions have their 8-bit twins."""

    def __init__(self, root: Path, *, twins: bool = False) -> None:
        self.root = root
        self._twins = twins

    def scan(self) -> Scan:
        """Returns every model with its versions, sorted by name. Raises OSError when the folder cannot be read."""
        scan = Scan({}, {}, set())
        scanned = self.root.stat().st_ino
        for entry in sorted(self.root.iterdir()):
            try:
                versions = _versions(entry)
                if versions and versions[0].name in scan.catalog:
                    raise InvalidFolderError(f"a folder of the same name is served; rename {entry.name}")
            except InvalidFolderError as error:
                scan.invalid[entry.name] = str(error)
                if isinstance(error, NoGraphError):
                    scan.empty.add(entry.name)
                continue
            if versions:
                scan.catalog[versions[0].name] = {v.number: _with_twin(v) if self._twins else v for v in versions}
        if self.root.stat().st_ino != scanned:
            raise FileNotFoundError(errno.ENOENT, "the folder was replaced during the scan")
        return scan

    def find(self, name: str, number: int | None = None) -> ModelVersion:
        """Returns the version `number` of a model, the highest one if None. Raises UnknownModelError."""
        try:
            catalog = self.scan().catalog
        except OSError:
            catalog = {}
        return find_version(catalog, name, number)


def find_version(catalog: Catalog, name: str, number: int | None = None) -> ModelVersion:
    """Returns the version `number` of a model, the highest one if None. Raises UnknownModelError."""
    if name not in catalog:
        raise UnknownModelError(f"model {name!r}", list(catalog))
    versions = catalog[name]
    if number is not None and number not in versions:
        raise UnknownModelError(f"version {number} of {name}", [f"version {n}" for n in sorted(versions)])
    return versions[max(versions) if number is None else number]


def _versions(entry: Path) -> list[ModelVersion]:
    """Raises InvalidFolderError."""
    if entry.name.startswith("."):
        return []
    try:
        if entry.suffix.lower() == _SUFFIX and entry.is_file():
            _check_name(entry.stem)
            return [_version(entry.stem, 1, entry, ())]
        if not entry.is_dir():
            return []
        found = versions_in(entry)
        if found:
            _check_name(entry.name)
        return found
    except (FileNotFoundError, NotADirectoryError):  # deleted during the scan
        return []
    except OSError as error:
        raise InvalidFolderError(f"it cannot be read: {error.strerror}") from error


def versions_in(model: Path) -> list[ModelVersion]:
    """Returns the numbered versions of a model's folder, sorted, else its own graph; nothing for another folder.

    Raises InvalidFolderError, OSError.
    """
    numbered = [(number, v) for v in model.iterdir() if (number := parse_version(v.name)) is not None and v.is_dir()]
    graphs = [(number, folder, graph) for number, folder in sorted(numbered) if (graph := find_graph(folder))]
    if not graphs and (own := find_graph(model)):
        return [_version(model.name, 1, own, (model,))]
    if not graphs and (model / MODEL_TOML).is_file():
        raise NoGraphError
    return [_version(model.name, number, graph, (folder, model), numbered=True) for number, folder, graph in graphs]


def _check_name(name: str) -> None:
    if not MODEL_NAME.fullmatch(name):
        raise InvalidFolderError("a model's name may contain letters, digits, '.', '_' and '-'; rename it")


def find_graph(folder: Path) -> Path | None:
    """Returns `model.onnx`, or the only .onnx file, of the folder or of its subfolder `onnx`; None if there is none.

    Raises InvalidFolderError if there are several.
    """
    candidates = (folder, folder / _SUBFOLDER)
    for candidate in candidates:
        if (candidate / _GRAPH).is_file():
            return candidate / _GRAPH
    for candidate in candidates:
        graphs = sorted(f for f in candidate.glob(f"*{_SUFFIX}") if f.is_file() and not f.name.startswith("."))
        if len(graphs) > 1:
            names = " and ".join(graph.name for graph in graphs[:2])
            raise InvalidFolderError(
                f"it contains {names}; name one of them {_GRAPH}, or move each into its own folder"
            )
        if graphs:
            return graphs[0]
    return None


def _version(name: str, number: int, graph: Path, folders: tuple[Path, ...], *, numbered: bool = False) -> ModelVersion:
    nearest = (graph.parent, *folders) if folders else ()
    unique = tuple(dict.fromkeys(nearest))
    return ModelVersion(name, number, graph, unique, _signature(graph, unique), numbered)


def _with_twin(version: ModelVersion) -> ModelVersion:
    """The twin's files count towards the version's signature."""
    graph = version.graph
    candidates = (graph.with_stem(f"{graph.stem}{suffix}") for suffix in _TWINS)
    twin = next((file for file in candidates if file.is_file()), None)
    try:
        files = _with_weights(twin) if twin else []
    except OSError:  # deleted during the scan
        return version
    return replace(version, twin=twin, signature=version.signature + _stats(files))


def _signature(graph: Path, folders: tuple[Path, ...]) -> Signature:
    """Covers the graph, its external weights, the files that describe it and its samples."""
    sidecars = [f for folder in folders for f in sorted(folder.iterdir()) if f.suffix in _SIDECARS and f.is_file()]
    bare = ModelFiles.of_bare_file(graph)
    own = () if folders else (graph.with_name(bare.spec_file), graph.with_name(bare.labels_file))
    described = [*(f for f in own if f.is_file()), *sidecars[:_MAX_SIDECARS]]
    return _stats([*_with_weights(graph), *described, *sample_files(graph, folders)])


def _with_weights(graph: Path) -> list[Path]:
    """Returns the graph's file and those of its external weights."""
    stat = graph.stat()
    return [graph, *(graph.parent / name for name in _external_files(graph, stat.st_size, stat.st_mtime_ns))]


def _stats(files: Iterable[Path]) -> Signature:
    return tuple(stat for file in files if (stat := _file_stat(file)))


@lru_cache(maxsize=1024)
def _external_files(graph: Path, _size: int, _mtime_ns: int) -> tuple[str, ...]:
    """Returns the names of the graph's weight files; cached until the graph changes."""
    try:
        return read_onnx(graph).external_files
    except ModelFileError:
        return ()


def _file_stat(file: Path) -> tuple[str, int, int] | None:
    """Returns path, bytes and mtime (ns); None for a file that was deleted during the scan."""
    try:
        stat = file.stat()
    except (OSError, ValueError):
        return None
    return str(file), stat.st_size, stat.st_mtime_ns
