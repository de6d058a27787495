"""Connections as they come -> the worker processes: to the one with the fewest, among those that can answer."""

import asyncio
import errno
import logging
import resource
import socket
from collections import deque
from collections.abc import Mapping
from time import monotonic

from api.worker_process import WorkerProcess
from engine.scheduling.scoreboard import Board

# Taken in one go, before anything else is looked at.
_AT_ONCE = 64
# An event loop tells that it is alive more often than that.
_STALE_S = 2.0
_RETRY_S = 0.1
_FINISH_S = 5.0
# Descriptors that a worker keeps for files, models and processes of its own.
_KEPT_DESCRIPTORS = 128
_NO_MORE = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}

_log = logging.getLogger("fovea")


class Dispatcher:
    """`listener` does not block; `workers` by their number on the board, as they come and go."""

    def __init__(self, listener: socket.socket, board: Board, workers: Mapping[int, WorkerProcess]) -> None:
        self._listener, self._board, self._workers = listener, board, workers
        self._waiting: deque[socket.socket] = deque()
        self._most = _most_connections()
        self._listening = self._told = self._finished = False

    @property
    def address(self) -> tuple[str, int]:
        host, port, *_ = self._listener.getsockname()
        return host, port

    def go_on(self) -> None:
        """Hands over what waits, then takes what comes; to be called when a worker is ready."""
        if self._listener.fileno() < 0:
            return
        self._hand_over()
        if not self._listening and not self._waiting:
            asyncio.get_running_loop().add_reader(self._listener, self._take)
            self._listening = True

    def give_again(self, connections: list[socket.socket]) -> None:
        """Those that a worker which is gone has never taken: they are the next in turn."""
        self._waiting.extendleft(reversed(connections))
        self._hand_over()
        if self._finished:
            self._give_up()
        elif self._waiting and self._listening:
            self._pause_and_retry()

    async def finish(self) -> None:
        """Takes the last that have come, and closes the listener."""
        self._pause()
        self._take_all()
        self._listener.close()
        until = monotonic() + _FINISH_S
        while self._waiting and monotonic() < until:
            await asyncio.sleep(_RETRY_S)
            self._hand_over()
        self._finished = True
        self._give_up()

    def _give_up(self) -> None:
        while self._waiting:
            self._waiting.popleft().close()

    def _pause(self) -> None:
        if self._listening:
            asyncio.get_running_loop().remove_reader(self._listener)
            self._listening = False

    def _pause_and_retry(self) -> None:
        self._pause()
        asyncio.get_running_loop().call_later(_RETRY_S, self._retry)

    def _retry(self) -> None:
        if self._listener.fileno() >= 0:
            self._hand_over()
            if self._waiting:
                self._pause_and_retry()
            else:
                self.go_on()

    def _take(self) -> None:
        try:
            self._accept(_AT_ONCE)
        except OSError as error:
            if error.errno not in _NO_MORE:
                raise
            if not self._told:
                _log.error("no more connections can be taken: %s", error.strerror)
            self._told = True
            self._pause_and_retry()
        if self._waiting and self._listening:
            self._pause_and_retry()

    def _take_all(self) -> None:
        try:
            self._accept(1_000_000)
        except OSError as error:
            _log.warning("the last connections could not be taken: %s", error.strerror)

    def _accept(self, most: int) -> None:
        """Raises OSError."""
        for _ in range(most):
            try:
                connection, _ = self._listener.accept()
            except BlockingIOError:
                break
            except ConnectionError:  # it was given up before it was taken
                continue
            self._waiting.append(connection)
            self._hand_over()

    def _hand_over(self) -> None:
        while self._waiting and self._given(self._waiting[0]):
            self._waiting.popleft()

    def _given(self, connection: socket.socket) -> bool:
        for _, number in sorted(
            (self._rank(number), number) for number, worker in self._workers.items() if worker.ready
        ):
            if self._open_at(number) >= self._most:  # the kernel closes what a process has no descriptor for
                continue
            if self._workers[number].connections.give(connection):
                return True
        return False

    def _rank(self, number: int) -> tuple[bool, bool, int, int]:
        board, said = self._board, self._board.alive_at(number)
        hangs = said is None or monotonic() - said > _STALE_S
        # At the start connections that last would all go to the one that is a moment ahead, and stay there.
        able = board.able(number) or self._workers[number].settles_in
        return hangs, not able, self._open_at(number), board.busy(number)

    def _open_at(self, number: int) -> int:
        return self._workers[number].connections.given - self._board.closed(number)


def _most_connections() -> int:
    """Of one worker; the others wait in the kernel."""
    descriptors, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return max(descriptors - _KEPT_DESCRIPTORS, descriptors // 2)
