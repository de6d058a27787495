"""Graphs that a runtime has optimised already, kept on disk: loaded again in a fraction of the time, with weights that
are mapped from the file, so that all sessions and processes share them.

    <cache>/graphs/<key>/model.onnx, weights.bin, files.json

An entry is written under another name and renamed into place, so it is whole or not there. `files.json` says how long
its files are and when they were written; what does not agree with it is no entry, and is replaced. The key has all that
the content depends on: nothing is ever looked up that could be stale.

Whoever cuts a file in place that a process has mapped kills that process (SIGBUS): the files are read-only, entries are
renamed before they are deleted, and the folder should be on a disk of this machine.
"""

import hashlib
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from time import time

import orjson

from utils.files import sync_folder

GRAPH = "model.onnx"
WEIGHTS = "weights.bin"
_LIST = "files.json"
_FOLDER = "graphs"
_UNFINISHED = ".new-"
_DISCARDED = ".old-"
_LITTER_AGE_S = 3600.0

MAX_ENTRIES = 32
MAX_BYTES = 8 << 30
# float16 that becomes float32, and the same again in the order the processor likes.
_GROWTH = 4
_LEFT_FREE = 256 << 20


class GraphCacheError(Exception):
    """Nothing can be kept, and why."""


class GraphCache:
    """One folder, which any number of processes may use at once. A key is any number of texts."""

    def __init__(self, cache: Path) -> None:
        self._folder = cache / _FOLDER

    def find(self, *key: str) -> Path | None:
        """The graph kept under that key, None where there is none that is whole.

        Whether it keeps its weights in that folder, and not elsewhere, the runtime checks.
        """
        entry = self._entry(key)
        try:
            if orjson.loads((entry / _LIST).read_bytes()) != _list(entry):
                return None
        except (OSError, ValueError):
            return None
        _mark_used(entry)
        return entry / GRAPH

    @contextmanager
    def new(self, source_bytes: int, *key: str) -> Iterator[Path]:
        """An empty folder for GRAPH and WEIGHTS, which becomes the entry when the block ends without an error.

        `source_bytes`: of graph and weights. Raises GraphCacheError where there is no room.
        """
        folder = self._room(source_bytes)
        try:
            yield folder
            self._put_into_place(folder, self._entry(key))
            self._prune()
        except OSError as error:
            raise GraphCacheError(error.strerror) from error
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def discard(self, *key: str) -> None:
        """Whoever has it loaded keeps what it has."""
        self._remove(self._entry(key))

    def _entry(self, key: tuple[str, ...]) -> Path:
        return self._folder / hashlib.sha256(orjson.dumps(key)).hexdigest()

    def _room(self, source_bytes: int) -> Path:
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            if shutil.disk_usage(self._folder).free < _GROWTH * source_bytes + _LEFT_FREE:
                raise GraphCacheError("the disk is nearly full")
            folder = Path(tempfile.mkdtemp(prefix=_UNFINISHED, dir=self._folder))
            folder.chmod(0o755)
        except OSError as error:
            raise GraphCacheError(error.strerror) from error
        return folder

    def _put_into_place(self, folder: Path, entry: Path) -> None:
        """Another process may have been first; one of the two stays, they are alike."""
        for file in folder.iterdir():
            _sync(file)
            file.chmod(0o444)
        (folder / _LIST).write_bytes(orjson.dumps(_list(folder)))
        _sync(folder / _LIST)
        sync_folder(folder)
        try:
            folder.rename(entry)
        except OSError:
            self._remove(entry)
            with suppress(OSError):
                folder.rename(entry)

    def _prune(self) -> None:
        """The least recently used entries go; so does what killed processes left an hour ago or more."""
        entries, total = 0, 0
        for entry in sorted(self._folder.iterdir(), key=_age):
            if entry.name.startswith((_UNFINISHED, _DISCARDED)):
                if _age(entry) > _LITTER_AGE_S:
                    shutil.rmtree(entry, ignore_errors=True)
                continue
            entries, total = entries + 1, total + _bytes(entry)
            if entries > 1 and (entries > MAX_ENTRIES or total > MAX_BYTES):
                self._remove(entry)

    def _remove(self, entry: Path) -> None:
        """Renamed first: nobody finds half of it."""
        grave = entry.with_name(f"{_DISCARDED}{entry.name}-{os.getpid()}-{time():.6f}")
        try:
            entry.rename(grave)
        except OSError:  # gone already, or not ours to remove
            return
        shutil.rmtree(grave, ignore_errors=True)


def _list(entry: Path) -> dict[str, list[int | str]]:
    """Of each file kind, length, time (ns), and of the graph, which is short, its digest. Raises OSError."""
    files: dict[str, list[int | str]] = {}
    for file in sorted(entry.iterdir()):
        if file.name == _LIST:
            continue
        found = file.lstat()
        files[file.name] = [stat.S_IFMT(found.st_mode), found.st_size, found.st_mtime_ns]
        if file.name == GRAPH:
            files[file.name].append(hashlib.sha256(file.read_bytes()).hexdigest())
    return files


def _sync(file: Path) -> None:
    with file.open("rb") as written:
        os.fsync(written.fileno())


def _mark_used(entry: Path) -> None:
    with suppress(OSError):  # a folder that is only read has nothing to prune
        os.utime(entry)


def _age(entry: Path) -> float:
    """Seconds since it was used; of one that vanished, none."""
    try:
        return time() - entry.stat().st_mtime
    except OSError:
        return 0.0


def _bytes(entry: Path) -> int:
    try:
        return sum(file.stat().st_size for file in entry.iterdir())
    except OSError:
        return 0
