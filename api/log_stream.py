"""stderr for the log, without ever waiting for whoever reads it.

Where nobody empties a pipe (a log driver that hangs, a pager), the next line would stop the event loop, and with it
every request. Such a line is lost instead; how many were is told when lines are taken again.
"""

import fcntl
import logging
import os
import socket
import stat
import sys
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from select import POLLOUT, poll
from typing import TextIO

_LEAST_ROOM = 4096  # PIPE_BUF: what a pipe that is ready takes at once
_PIPE_BYTES = 1 << 20  # Linux's most for anybody: some thousand lines, for a reader that pauses

_log = logging.getLogger("fovea")


class LogStream:
    """What a logging handler needs of a file. Whoever calls it holds the handler's lock.

    `send` writes bytes at once and says how many; it raises OSError, BlockingIOError where there is no room.
    """

    def __init__(self, send: Callable[[bytes], int]) -> None:
        self._send = send
        self._rest = b""
        self._lost = 0

    def write(self, text: str) -> int:
        """What did not fit of a line that is begun is written the next time."""
        data = text.encode("utf-8", "backslashreplace")
        if not self._write(self._rest):
            self._lost += 1
        elif not self._write(data):
            if self._rest == data:  # nothing of it
                self._rest = b""
                self._lost += 1
        elif self._lost:
            self._tell_lost()
        return len(text)

    def flush(self) -> None:
        """Nothing is held back but the end of a line that did not fit."""

    def _write(self, data: bytes) -> bool:
        """Whether all was; the rest is kept."""
        self._rest = data
        try:
            while self._rest:
                self._rest = self._rest[self._send(self._rest) :]
        except OSError:  # no room, or nobody there any more, or no space on the disk
            return False
        return True

    def _tell_lost(self) -> None:
        lost, self._lost = self._lost, 0
        _log.warning("%s lines of the log were lost: they could not be written", lost)
        if self._lost:  # this one, too
            self._lost += lost


def log_stream() -> TextIO | LogStream:
    """For the handler of the log: `sys.stderr` where that is not this process's own."""
    try:
        own = sys.__stderr__ is not None and sys.stderr is sys.__stderr__ and sys.__stderr__.fileno() == 2
    except (ValueError, OSError):  # closed
        own = False
    return _own_stderr() if own else sys.stderr


@cache
def _own_stderr() -> LogStream:
    return LogStream(sender(2))


def sender(handle: int) -> Callable[[bytes], int]:
    """Writes to an open file and never waits, as far as its kind allows; a file on a disk is always ready."""
    mode = os.fstat(handle).st_mode
    if stat.S_ISREG(mode):
        return lambda data: os.write(handle, data)
    if stat.S_ISSOCK(mode):  # a journal's
        own = socket.socket(fileno=os.dup(handle))
        return lambda data: own.send(data, socket.MSG_DONTWAIT)
    with suppress(OSError):  # another user's, or a system without /proc
        # Opened anew: the flag on the file itself would be everybody's who writes there.
        opened = os.open(f"/proc/self/fd/{handle}", os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
        with suppress(OSError, AttributeError):  # no pipe, or no Linux
            fcntl.fcntl(opened, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
        return lambda data: os.write(opened, data)
    ready = poll()
    ready.register(handle, POLLOUT)

    def write_where_there_is_room(data: bytes) -> int:
        if not ready.poll(0):
            raise BlockingIOError
        return os.write(handle, data[:_LEAST_ROOM])

    return write_where_there_is_room
