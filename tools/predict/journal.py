"""Results as they are finished, one JSON object a line: what is printed, resumed, and made into a file of a format."""

import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any, BinaryIO

import orjson

from tools.predict.sources import Item, Source

FILE = ".fovea-results.ndjson"

Record = dict[str, Any]


def write_array(values: Iterable[object], out: BinaryIO) -> None:
    """Writes a JSON array, a value a line."""
    out.write(b"[")
    for number, value in enumerate(values):
        out.write((b",\n" if number else b"\n") + orjson.dumps(value))
    out.write(b"\n]\n")


class JournalError(Exception):
    """The folder has results that this command cannot continue. The message says why and what to do."""


class Journal:
    """The results of a run, in the folder that they are saved in, or in a temporary file.

    The first line of the file is `run`: the model and the options. A result counts once its line is complete and the
    files that it names have their sizes. Only where each line begins is kept in memory.
    """

    def __init__(self, folder: Path | None, run: Record, *, resume: bool) -> None:
        """Raises JournalError, OSError."""
        self._folder = folder
        self._offsets: dict[str, dict[float, int]] = {}
        self._file = _open(folder)
        try:
            self._end = self._file.seek(0, os.SEEK_END)
            if self._end and not resume:
                raise JournalError(f"{folder} has results: continue them with --resume, or choose another folder")
            self._read(run)
        except BaseException:
            self._file.close()
            raise

    def add(self, item: Item, record: Record) -> None:
        """The line is with the system when this returns, so that it survives the end of the process."""
        name, time_s = item.key
        self._append({"name": name, "stamp": item.stamp, "time_s": time_s, **record}, name, time_s)

    def has(self, item: Item) -> bool:
        """Whether the item is finished: its file is the same, and so are the files that were saved for it."""
        name, time_s = item.key
        offset = self._offsets.get(name, {}).get(time_s)
        if offset is None:
            return False
        record = self._record(offset)
        return bool(record["stamp"] == item.stamp) and all(
            self._folder and _size(self._folder / path) == size for path, size in record["saved"].items()
        )

    def records(self, sources: Sequence[Source]) -> Iterator[Record]:
        """The results in the order of `sources`, frames by time, whatever the order in which they were finished."""
        for source in sources:
            for _, offset in sorted(self._offsets.get(source.item.name, {}).items()):
                yield self._record(offset)

    def close(self) -> None:
        self._file.close()

    def _read(self, run: Record) -> None:
        self._file.seek(0)
        at = 0
        for line in self._file:
            if not line.endswith(b"\n"):  # the process was ended while it wrote
                break
            record = orjson.loads(line)
            if at == 0 and record != run:
                raise JournalError(
                    f"{self._folder} has results of {_described(record)}, not of {_described(run)}: "
                    "choose another folder, or the same model and options"
                )
            if at:
                self._offsets.setdefault(record["name"], {})[record["time_s"]] = at
            at += len(line)
        self._file.truncate(at)
        self._end = at
        if not at:
            self._append(run)

    def _append(self, record: Record, name: str | None = None, time_s: float = 0.0) -> None:
        line = orjson.dumps(record) + b"\n"
        self._file.seek(self._end)
        self._file.write(line)
        self._file.flush()
        if name is not None:
            self._offsets.setdefault(name, {})[time_s] = self._end
        self._end += len(line)

    def _record(self, offset: int) -> Record:
        self._file.seek(offset)
        record: Record = orjson.loads(self._file.readline())
        return record


def _open(folder: Path | None) -> BinaryIO:
    if folder is None:
        return TemporaryFile()
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / FILE
    file.touch()
    return file.open("r+b")


def _size(file: Path) -> int:
    try:
        return file.stat().st_size
    except OSError:
        return -1


def _described(run: Record) -> str:
    return ", ".join(f"{name} {value}" for name, value in run.items() if value is not None)
