"""Busy-run counts of the worker processes in a mapped file. A process holds the file lock of its slot until it ends."""

import logging
from mmap import mmap
from pathlib import Path
from socket import gethostname
from time import monotonic

from filelock import FileLock

_SLOTS = 64
_BYTES = 16 * _SLOTS  # for each slot whether it is taken, then for each slot its busy count, 8 bytes a number
_REFRESH_S = 1.0  # between two looks at which workers live


class Scoreboard:
    def __init__(self, memory: mmap, file: Path | None) -> None:
        self.cells, self._file = memoryview(memory).cast("Q"), file

    @classmethod
    def open(cls, folder: Path | None) -> "Scoreboard":
        """Map `scoreboard-<hostname>` in `folder`; memory of this process alone if there is none or it is read-only."""
        try:
            if folder is not None:
                folder.mkdir(parents=True, exist_ok=True)
                with (folder / f"scoreboard-{gethostname()}").open("a+b", buffering=0) as file:
                    if file.tell() < _BYTES:
                        file.write(bytes(_BYTES))  # takes space now: writing to a map of a full disk ends the process
                    return cls(mmap(file.fileno(), _BYTES), Path(file.name))
        except (OSError, ValueError) as error:
            logging.getLogger("fovea.scheduler").debug("scoreboard is private to this process error=%s", error)
        return cls(mmap(-1, _BYTES), None)

    def claim(self) -> "WorkerSlot":
        """Take the first free slot, in the process that uses it; a private one if no slot can be locked."""
        taken = (WorkerSlot(self, number, lock) for number in range(_SLOTS) if (lock := self.lock(number)))
        return next(taken, None) or Scoreboard.open(None).claim()

    def lock(self, number: int) -> FileLock | None:
        """Lock and clear a slot; None if a live worker holds it, or the system gives no lock."""
        lock = FileLock(f"{self._file}.{number}.lock", timeout=0, thread_local=False, fallback_to_soft=False)
        try:
            if self._file:
                lock.acquire()
        except OSError:  # a Timeout is one
            return None
        self.cells[number] = self.cells[_SLOTS + number] = 0
        return lock


class WorkerSlot:
    """`workers`: live processes with a slot, this one included. `others_busy`: the sum of the others' busy counts."""

    def __init__(self, scoreboard: Scoreboard, number: int, lock: FileLock) -> None:
        self._scoreboard, self._number, self._lock = scoreboard, number, lock
        self._others, self._refresh_at = list[int](), 0.0
        scoreboard.cells[number] = 1

    @property
    def workers(self) -> int:
        return 1 + len(self._live_others())

    def set_busy(self, count: int) -> None:
        self._scoreboard.cells[_SLOTS + self._number] = count

    def others_busy(self) -> int:
        return sum([self._scoreboard.cells[_SLOTS + number] for number in self._live_others()])

    def release(self) -> None:
        self._lock.release()

    def _live_others(self) -> list[int]:
        scoreboard, now = self._scoreboard, monotonic()
        if now >= self._refresh_at:
            self._refresh_at = now + _REFRESH_S
            locks = {n: scoreboard.lock(n) for n in range(_SLOTS) if n != self._number and scoreboard.cells[n]}
            self._others = [n for n, lock in locks.items() if lock is None]
            for lock in filter(None, locks.values()):
                lock.release()
        return self._others
