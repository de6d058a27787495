"""Optimised graphs on disk, so that the next load is quick and all sessions and processes map the same weights.

    <cache>/graphs/<key>/      model.onnx, weights.bin, private_bytes
    <cache>/graph-trials/      <key>: a new graph that crashed its process, or that did not answer as the original does

An entry is tried before it is published. Writers publish it by renaming its folder, so readers find a whole entry or
none. The key covers all that the content depends on, so entries never go stale. The runtime rejects a damaged graph,
and weights that are too short or outside the folder; the entry is then written again.

Truncating a mapped file in place kills the processes that map it (SIGBUS). Hence files are read-only, entries are
renamed before they are deleted, and the folder should be on a local disk.
"""

import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from time import time

import orjson

from utils.files import sync_folder
from utils.locks import process_lock

GRAPH = "model.onnx"
WEIGHTS = "weights.bin"
PRIVATE_BYTES = "private_bytes"
_UNFINISHED = ".new-"
_DISCARDED = ".old-"
_LITTER_AGE_S = 3600.0

MAX_BYTES = 8 << 30
# float16 weights become float32.
_GROWTH = 3
_LEFT_FREE = 256 << 20


class GraphCacheError(Exception):
    """Raised when an entry cannot be written; the message is the reason."""


class CachedGraph:
    """The entry of one key, a sequence of strings, in a cache folder that any number of processes share."""

    def __init__(self, cache: Path, key: Sequence[str]) -> None:
        name = hashlib.sha256(orjson.dumps(key)).hexdigest()
        self._folder = cache / "graphs"
        self._entry = self._folder / name
        self._trial = cache / "graph-trials" / name

    def find(self) -> Path | None:
        """Returns the optimised graph, or None."""
        graph = self._entry / GRAPH
        with suppress(OSError):  # a read-only folder is never pruned
            os.utime(self._entry)
        return graph if graph.is_file() else None

    @property
    def failed(self) -> bool:
        """Whether a trial of this graph failed, or ended its process."""
        return self._trial.exists()

    @property
    def private_bytes(self) -> int:
        """The number in PRIVATE_BYTES: memory that each session of the graph holds for itself."""
        return int((self._entry / PRIVATE_BYTES).read_text())

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Holds the lock of this key, between threads and processes; best effort in a read-only folder."""
        with suppress(OSError):
            self._trial.parent.mkdir(parents=True, exist_ok=True)
        with process_lock(self._trial.with_suffix(".lock")):
            yield

    @contextmanager
    def new(self, source_bytes: int) -> Iterator[Path]:
        """Yields an empty folder for GRAPH, WEIGHTS and PRIVATE_BYTES, and publishes it if the block succeeds.

        `source_bytes` is the size of the original graph and its weights. Call it under the lock.
        Raises GraphCacheError.
        """
        folder = self._make_folder(source_bytes)
        try:
            yield folder
            self._publish(folder)
            prune(self._folder, self._entry)
        except OSError as error:
            raise GraphCacheError(error.strerror) from error
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    @contextmanager
    def trial(self) -> Iterator[None]:
        """Runs the new graph for the first time: `failed` becomes true if the block raises or ends the process."""
        self._trial.touch()
        yield
        self.forget_trial()

    def forget_trial(self) -> None:
        self._trial.unlink(missing_ok=True)

    def remove(self) -> None:
        """Removes the entry. Sessions that have it loaded keep working. Call it under the lock."""
        _remove(self._entry)

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

    def _publish(self, folder: Path) -> None:
        for file in folder.iterdir():
            _sync(file)
            file.chmod(0o444)
        sync_folder(folder)
        self.remove()
        folder.rename(self._entry)


def prune(folder: Path, used: Path) -> None:
    """Removes the least recently used entries of a folder, except the one that is `used` now, and unfinished ones that
    killed processes left over an hour ago.
    """
    total = 0
    for path in sorted(folder.iterdir(), key=_age):
        if path.name.startswith((_UNFINISHED, _DISCARDED)):
            if _age(path) > _LITTER_AGE_S:
                shutil.rmtree(path, ignore_errors=True)
            continue
        total += _bytes(path)
        if total > MAX_BYTES and path != used:
            _remove(path)


def _remove(entry: Path) -> None:
    """Renames before deleting, so that no reader finds half an entry."""
    grave = entry.with_name(f"{_DISCARDED}{entry.name}-{os.getpid()}-{time():.6f}")
    with suppress(OSError):  # it does not exist, or belongs to another user
        entry.rename(grave)
        shutil.rmtree(grave, ignore_errors=True)


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
