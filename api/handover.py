"""Open connections given from one process to another, over a pair of connected sockets.

A connection goes as one byte with its descriptor, and is kept open until the taker has said, by a byte of its own, that
it has it. The taker says so before it reads anything: a connection that it has never told of is as it came, and may be
given to somebody else when the taker has died.
"""

import asyncio
import os
import socket
from collections import deque
from collections.abc import Callable
from contextlib import suppress

_BYTE = b"c"
# As many as a process may have descriptors for, here: serve.py asks for no more.
_MOST_CONNECTIONS = 1 << 16


class ConnectionGiver:
    """`given`: how many went, taken or not."""

    def __init__(self, way: socket.socket) -> None:
        way.setblocking(False)
        self._way = way
        self._untaken: deque[socket.socket] = deque()
        self._listening = False
        self.given = 0

    def give(self, connection: socket.socket) -> bool:
        """Whether it has gone; then it is no longer the caller's to close."""
        try:
            socket.send_fds(self._way, [_BYTE], [connection.fileno()])
        except OSError:  # the taker is behind with taking, or has just ended, or the kernel has no room
            return False
        self.given += 1
        self._untaken.append(connection)
        if not self._listening:
            asyncio.get_running_loop().add_reader(self._way, self._hear)
            self._listening = True
        return True

    def end(self) -> None:
        """Nothing more comes; what was given may still be taken."""
        with suppress(OSError):  # the taker is gone already
            self._way.shutdown(socket.SHUT_WR)

    def close(self) -> list[socket.socket]:
        """Those that were never taken, in their order; to be called when the taker is gone."""
        self._hear()
        self._hear_no_more()
        self._way.close()
        untaken, self._untaken = list(self._untaken), deque()
        return untaken

    def _hear(self) -> None:
        try:
            heard = self._way.recv(_MOST_CONNECTIONS)
        except BlockingIOError:
            return
        except OSError:
            heard = b""
        if not heard:
            self._hear_no_more()
        for _ in heard:
            self._untaken.popleft().close()

    def _hear_no_more(self) -> None:
        if self._listening:
            asyncio.get_running_loop().remove_reader(self._way)
            self._listening = False


class ConnectionTaker:
    """`taken` is called with each connection, and `lost` for each that this process has no descriptor left for."""

    def __init__(self, way: socket.socket, taken: Callable[[socket.socket], None], lost: Callable[[], None]) -> None:
        way.setblocking(False)
        self._way, self._taken, self._lost = way, taken, lost
        self._untold = 0
        self._ended = asyncio.Event()

    def start(self) -> None:
        asyncio.get_running_loop().add_reader(self._way, self._take)

    async def ended(self) -> None:
        """Returns when the giver has said that nothing more comes, or is gone."""
        await self._ended.wait()

    def _take(self) -> None:
        while True:
            try:
                byte, descriptors, _, _ = socket.recv_fds(self._way, 1, 1)
            except BlockingIOError:
                break
            except ConnectionError:
                byte, descriptors = b"", []
            if not byte:
                asyncio.get_running_loop().remove_reader(self._way)
                self._ended.set()
                break
            self._untold += 1
            for descriptor in descriptors:
                os.set_inheritable(descriptor, False)
                self._taken(socket.socket(fileno=descriptor))
            if not descriptors:
                self._lost()
        self._tell()

    def _tell(self) -> None:
        with suppress(OSError):  # the giver is gone, or is far behind with listening: it hears with the next
            self._untold -= self._way.send(_BYTE * self._untold)
