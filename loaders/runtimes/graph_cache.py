"""Optimised graphs on disk, so that the next load is quick and all sessions and processes map the same weights.

    <cache>/graphs/<key>/model.onnx, weights.bin, files.json

Writers publish an entry by renaming its folder, so readers find a whole entry or none; the first writer wins. Readers
compare an entry with the lengths, times and digest in `files.json`, and ignore it if they differ. The key covers all
that the content depends on, so entries never go stale.

Truncating a mapped file in place kills the processes that map it (SIGBUS). Hence files are read-only, entries are
renamed before they are deleted, and the folder should be on a local disk.
"""

import hashlib
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
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
# float16 weights become float32, and are stored once more in the processor's own layout.
_GROWTH = 4
_LEFT_FREE = 256 << 20


class GraphCacheError(Exception):
    """Raised when an entry cannot be written; the message is the reason."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A complete entry. `listing`, the content of its `files.json`, differs from that of a later entry of the key."""

    folder: Path
    listing: bytes

    @property
    def graph(self) -> Path:
        return self.folder / GRAPH


class GraphCache:
    """One cache folder, shared by any number of processes. A key is any number of strings."""

    def __init__(self, cache: Path) -> None:
        self._folder = cache / _FOLDER

    def find(self, *key: str) -> Entry | None:
        """Returns the entry of that key if it is whole. The runtime checks that its weights lie in its folder."""
        entry = _read(self._path(key))
        if entry:
            with suppress(OSError):  # a read-only folder is never pruned
                os.utime(entry.folder)
        return entry

    @contextmanager
    def new(self, source_bytes: int, *key: str) -> Iterator[Path]:
        """Yields an empty folder for GRAPH and WEIGHTS, and publishes it as the entry if the block succeeds.

        `source_bytes` is the size of the original graph and its weights. Raises GraphCacheError.
        """
        folder = self._make_folder(source_bytes)
        try:
            yield folder
            self._publish(folder, self._path(key))
            self._prune()
        except OSError as error:
            raise GraphCacheError(error.strerror) from error
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def discard(self, entry: Entry) -> None:
        """Removes the entry unless another process has replaced it. Sessions that have it loaded keep working."""
        with suppress(OSError):
            if (entry.folder / _LIST).read_bytes() == entry.listing:
                self._remove(entry.folder)

    def _path(self, key: tuple[str, ...]) -> Path:
        return self._folder / hashlib.sha256(orjson.dumps(key)).hexdigest()

    def _make_folder(self, source_bytes: int) -> Path:
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            if shutil.disk_usage(self._folder).free < _GROWTH * source_bytes + _LEFT_FREE:
                raise GraphCacheError("the disk is nearly full")
            folder = Path(tempfile.mkdtemp(prefix=_UNFINISHED, dir=self._folder))
            folder.chmod(0o755)
        except OSError as error:
            raise GraphCacheError(error.strerror) from error
        return folder

    def _publish(self, folder: Path, path: Path) -> None:
        """Replaces a damaged entry; a whole one, which another process published first, stays."""
        for file in folder.iterdir():
            _sync(file)
            file.chmod(0o444)
        (folder / _LIST).write_bytes(_listing(folder))
        _sync(folder / _LIST)
        sync_folder(folder)
        for _ in range(2):
            with suppress(OSError):
                folder.rename(path)
                return
            if _read(path):
                return
            self._remove(path)

    def _prune(self) -> None:
        """Removes the least recently used entries, and unfinished ones that killed processes left over an hour ago."""
        entries, total = 0, 0
        for path in sorted(self._folder.iterdir(), key=_age):
            if path.name.startswith((_UNFINISHED, _DISCARDED)):
                if _age(path) > _LITTER_AGE_S:
                    shutil.rmtree(path, ignore_errors=True)
                continue
            entries, total = entries + 1, total + _bytes(path)
            if entries > 1 and (entries > MAX_ENTRIES or total > MAX_BYTES):
                self._remove(path)

    def _remove(self, path: Path) -> None:
        """Renames before deleting, so that no reader finds half an entry."""
        grave = path.with_name(f"{_DISCARDED}{path.name}-{os.getpid()}-{time():.6f}")
        with suppress(OSError):  # it does not exist, or belongs to another user
            path.rename(grave)
            shutil.rmtree(grave, ignore_errors=True)


def _read(path: Path) -> Entry | None:
    """Returns None for an entry that is missing or damaged."""
    try:
        listing = (path / _LIST).read_bytes()
        return Entry(path, listing) if listing == _listing(path) else None
    except OSError:
        return None


def _listing(path: Path) -> bytes:
    """JSON of type, length and mtime (ns) of each file, and the digest of the graph, which is short. Raises OSError."""
    files: dict[str, list[int | str]] = {}
    for file in sorted(path.iterdir()):
        if file.name == _LIST:
            continue
        found = file.lstat()
        files[file.name] = [stat.S_IFMT(found.st_mode), found.st_size, found.st_mtime_ns]
        if file.name == GRAPH:
            files[file.name].append(hashlib.sha256(file.read_bytes()).hexdigest())
    return orjson.dumps(files)


def _sync(file: Path) -> None:
    with file.open("rb") as written:
        os.fsync(written.fileno())


def _age(path: Path) -> float:
    """Seconds since it was used; 0 if it has vanished."""
    try:
        return time() - path.stat().st_mtime
    except OSError:
        return 0.0


def _bytes(path: Path) -> int:
    try:
        return sum(file.stat().st_size for file in path.iterdir())
    except OSError:
        return 0
