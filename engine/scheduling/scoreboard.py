"""What the worker processes of one service know of each other: a few numbers in memory that all of them share.

Each worker writes its own part only, so there is no lock to be left behind by one that is killed. What a neighbour
reads may be a moment old: that costs a little speed, never an answer.
"""

import os
import struct
from collections import Counter, deque
from dataclasses import dataclass
from mmap import mmap
from time import monotonic

from utils.nameless_memory import nameless_memory

# Of a load: whatever runs beside it has had fewer good runs, and is blamed first. It has just passed a check.
_LOADS = 2**63
# Runs under way in one worker that can be told apart; more are not noted.
_MARKS = 64
_MARK = struct.Struct("=QIH146s")  # runs that ended well, version, length of the name, name
_CELLS = 4  # of 8 bytes
_BUSY, _CLOSED, _ALIVE_MS, _ABLE = range(4)
_CELL_BYTES = 8 * _CELLS
_PLACE_BYTES = _CELL_BYTES + _MARKS * _MARK.size

Key = tuple[str, int]


@dataclass(frozen=True, slots=True)
class UnderWay:
    """A version that a worker runs, or loads; `finished`: how many of its runs there have ended well."""

    name: str
    number: int
    finished: int


class Board:
    """`memory` has a place for each worker. May be read at any time, also after a worker's death."""

    def __init__(self, memory: mmap | bytearray) -> None:
        self._memory = memory
        self._cells = memoryview(memory).cast("Q")
        self.workers = len(memory) // _PLACE_BYTES

    def place(self, worker: int) -> "Place":
        """For the worker itself, of which there is one at a time."""
        return Place(self, worker)

    def clear(self, worker: int) -> None:
        """For the next worker in that place."""
        self._memory[worker * _PLACE_BYTES : (worker + 1) * _PLACE_BYTES] = bytes(_PLACE_BYTES)

    def busy(self, worker: int) -> int:
        """Lanes that it has at work."""
        return self._cells[_cell(worker, _BUSY)]

    def closed(self, worker: int) -> int:
        """Connections that it was given and that have ended."""
        return self._cells[_cell(worker, _CLOSED)]

    def alive_at(self, worker: int) -> float | None:
        """When its event loop last said so, on the machine's monotonic clock; None before the first time."""
        milliseconds = self._cells[_cell(worker, _ALIVE_MS)]
        return milliseconds / 1e3 if milliseconds else None

    def able(self, worker: int) -> bool:
        """Whether it said so the last time that it was alive: its model can answer."""
        return bool(self._cells[_cell(worker, _ABLE)])

    def under_way(self, worker: int) -> list[UnderWay]:
        """What it runs, or was running when it died."""
        found = []
        for mark in range(_MARKS):
            finished, number, length, name = _MARK.unpack_from(self._memory, _mark_at(worker, mark))
            if number:
                found.append(UnderWay(name[:length].decode("utf-8", "replace"), number, finished))
        return found

    def write(self, worker: int, cell: int, value: int) -> None:
        self._cells[_cell(worker, cell)] = value

    def mark(self, worker: int, mark: int, key: Key, finished: int) -> None:
        name = key[0].encode()
        _MARK.pack_into(self._memory, _mark_at(worker, mark), finished, key[1], len(name), name)

    def unmark(self, worker: int, mark: int) -> None:
        _MARK.pack_into(self._memory, _mark_at(worker, mark), 0, 0, 0, b"")


class Place:
    """A worker's own part of the board, and its look at the others. May be used from many threads."""

    def __init__(self, board: Board, worker: int) -> None:
        self._board, self._worker = board, worker
        self._others = [other for other in range(board.workers) if other != worker]
        self._free_marks = deque(range(_MARKS))
        self._finished: Counter[Key] = Counter()
        self._closed = 0

    def tell_busy(self, lanes: int) -> None:
        self._board.write(self._worker, _BUSY, lanes)

    def others_busy(self) -> int:
        """Lanes that the other workers have at work, all together."""
        return sum([self._board.busy(other) for other in self._others])

    def tell_closed(self) -> None:
        """One more connection has ended; from the event loop only."""
        self._closed += 1
        self._board.write(self._worker, _CLOSED, self._closed)

    def tell_alive(self, *, able: bool) -> None:
        """Its event loop turns, and whether it is able to answer."""
        self._board.write(self._worker, _ABLE, able)
        self._board.write(self._worker, _ALIVE_MS, int(monotonic() * 1e3))

    def running(self, name: str, number: int) -> "_Running":
        """While in it, a crash of this process may be put down to that version of that model."""
        key = (name, number)
        return _Running(self, key, self._finished[key])

    def loading(self, name: str, number: int) -> "_Running":
        """The same, where nothing runs that could have been it."""
        return _Running(self, (name, number), _LOADS)

    def begin(self, key: Key, finished: int) -> int | None:
        try:
            mark = self._free_marks.pop()
        except IndexError:
            return None
        self._board.mark(self._worker, mark, key, finished)
        return mark

    def end(self, key: Key, mark: int | None) -> None:
        if mark is not None:
            self._board.unmark(self._worker, mark)
            self._free_marks.append(mark)
            self._finished[key] += 1


class _Running:
    __slots__ = ("_finished", "_key", "_mark", "_place")

    def __init__(self, place: Place, key: Key, finished: int) -> None:
        self._place, self._key, self._finished = place, key, finished

    def __enter__(self) -> None:
        self._mark = self._place.begin(self._key, self._finished)

    def __exit__(self, *_: object) -> None:
        self._place.end(self._key, self._mark)


def make_board(workers: int) -> tuple[Board, int]:
    """And the descriptor of its memory, from which another process opens it; closed by nobody but the caller.

    Raises OSError.
    """
    size = workers * _PLACE_BYTES
    descriptor = nameless_memory("fovea-board")
    os.truncate(descriptor, size)
    return Board(mmap(descriptor, size)), descriptor


def open_board(descriptor: int) -> Board:
    """The board of another process, whose descriptor was inherited; it is closed here."""
    board = Board(mmap(descriptor, os.fstat(descriptor).st_size))
    os.close(descriptor)
    return board


def no_neighbours() -> Place:
    """Of a process that serves alone."""
    return Board(bytearray(_PLACE_BYTES)).place(0)


def _cell(worker: int, cell: int) -> int:
    return worker * (_PLACE_BYTES // 8) + cell


def _mark_at(worker: int, mark: int) -> int:
    return worker * _PLACE_BYTES + _CELL_BYTES + mark * _MARK.size
