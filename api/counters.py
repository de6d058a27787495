"""Numbers by key that one process adds to and all processes on the same folder read, as they are at that moment.

| file | |
|---|---|
| `<n>.keys` | a JSON line for each key: the key, and how many values it has; locked while its process lives |
| `<n>.values` | the values of all keys in that order, float64, mapped into its process's memory |

A process takes the lowest n that is free and goes on with what it finds: nothing that a dead one has counted is lost,
and there are never more files than there were processes at once. Without a folder all is in this process's memory.
"""

import errno
import fcntl
import logging
import mmap
import os
from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from threading import Lock
from weakref import finalize

import orjson

Key = tuple[str, ...]

_MOST_VALUES = 1 << 15
_WIDTH = 8  # bytes of a value
# What finds no place any more is counted here and shown nowhere.
_SPILL = 64

_log = logging.getLogger("fovea")


@dataclass(frozen=True, slots=True)
class Numbers:
    """What one process has counted. `number`: its n; `live`: whether it still runs."""

    number: int
    live: bool
    values: dict[Key, list[float]]


class Counters:
    """`values` may be added to by one thread only, the one that asked for their places."""

    def __init__(self, folder: Path | None = None) -> None:
        self.number = 0
        self._folder = folder
        self._places: dict[Key, tuple[int, int]] = {}
        self._next = _SPILL
        self._lock = Lock()
        self._keys = -1
        file = self._take_file_if_it_can(folder)
        self._mapped = mmap.mmap(file, (_SPILL + _MOST_VALUES) * _WIDTH)
        if file >= 0:
            os.close(file)
        self.values = memoryview(self._mapped).cast("d")

    def place(self, key: Key, size: int = 1) -> int:
        """Where in `values` the `size` values of that key begin."""
        with self._lock:
            found = self._places.get(key)
            if found is None:
                if self._next + size > len(self.values):
                    _log.warning("there is no room to count %s", key)
                    return 0
                if not self._is_written(orjson.dumps([key, size]) + b"\n"):
                    return 0
                found = self._places[key] = (self._next, size)
                self._next += size
            return found[0]

    def places(self) -> dict[Key, int]:
        """Of all that is counted so far."""
        with self._lock:
            return {key: start for key, (start, _) in self._places.items()}

    def everybody(self) -> Iterator[Numbers]:
        """This process and all others, the dead ones too. It reads files."""
        with self._lock:
            places = dict(self._places)
        own = {key: list(self.values[start : start + size]) for key, (start, size) in places.items()}
        yield Numbers(self.number, live=True, values=own)
        for keys in self._folder.glob("*.keys") if self._folder else ():
            if (number := int(keys.stem)) != self.number:
                yield Numbers(number, _is_live(keys), _read(keys))

    def _is_written(self, line: bytes) -> bool:
        """All of it or nothing: others tell places by the lines before them."""
        if self._keys < 0:
            return True
        before = os.fstat(self._keys).st_size
        try:
            written = os.write(self._keys, line)
        except OSError as error:
            _log.warning("what happens cannot be counted: %s", error.strerror)
            return False
        if written < len(line):
            os.ftruncate(self._keys, before)
        return written == len(line)

    def _take_file_if_it_can(self, folder: Path | None) -> int:
        """-1, which is this process's own memory, without a folder or where its disk is full."""
        if folder is None:
            return -1
        try:
            folder.mkdir(parents=True, exist_ok=True)
            return self._take_file(folder)
        except OSError as error:
            _log.warning("this process counts for itself: %s", error.strerror)
            self._folder, self._keys = None, -1
            self._places.clear()
            self._next = _SPILL
            return -1

    def _take_file(self, folder: Path) -> int:
        for number in count():
            keys = os.open(folder / f"{number}.keys", os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
            if _lock(keys, fcntl.LOCK_EX):
                break
            os.close(keys)
        self._keys, self.number = keys, number
        finalize(self, os.close, keys)
        whole = 0
        for key, size, length in _lines(folder / f"{number}.keys"):
            self._places[key] = (self._next, size)
            self._next += size
            whole += length
        os.ftruncate(keys, whole)
        file = os.open(folder / f"{number}.values", os.O_RDWR | os.O_CREAT, 0o600)
        _fill(file, (_SPILL + _MOST_VALUES) * _WIDTH)
        return file


def _fill(file: int, size: int) -> None:
    """With zeros up to that size: where a disk is full, a mapped hole would end the process. Raises OSError."""
    missing = size - os.fstat(file).st_size
    if missing > 0 and os.pwrite(file, bytes(missing), size - missing) < missing:
        os.close(file)
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def _lock(file: int, kind: int) -> bool:
    """The system lets go of it when the process ends, however it ends."""
    try:
        fcntl.flock(file, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _is_live(keys: Path) -> bool:
    with keys.open("rb") as file:
        return not _lock(file.fileno(), fcntl.LOCK_SH)


def _lines(keys: Path) -> Iterator[tuple[Key, int, int]]:
    """Key, values, and the line's own length. Half a line at the end is of a process that died or is writing it."""
    for line in keys.read_bytes().splitlines(keepends=True):
        if not line.endswith(b"\n"):
            return
        key, size = orjson.loads(line)
        yield tuple(key), size, len(line)


def _read(keys: Path) -> dict[Key, list[float]]:
    known = [(key, size) for key, size, _ in _lines(keys)]
    try:
        with keys.with_suffix(".values").open("rb") as file:
            data = file.read((_SPILL + sum(size for _, size in known)) * _WIDTH)
    except FileNotFoundError:  # it has only just begun
        return {}
    values = array("d", data).tolist()
    found: dict[Key, list[float]] = {}
    start = _SPILL
    for key, size in known:
        found[key] = values[start : start + size]
        start += size
    return found
