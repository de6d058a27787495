"""An HTTP/1.1 connection that sends one request at a time and takes exactly one answer for it."""

import asyncio
from collections.abc import Sequence
from contextlib import suppress

from tests.answers import Answer, AnswerReader, MalformedError

_HOST = "127.0.0.1"
_BLOCK = 1 << 16


class LostError(Exception):
    """The connection ended before the answer was complete. `heard`: a part of the answer had arrived."""

    def __init__(self, heard: bool) -> None:
        super().__init__("lost with half an answer" if heard else "lost")
        self.heard = heard


class NoConnectionError(Exception):
    """The system rejects the connection."""


class Connection:
    """Opened for a request, and again after the server has closed it."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
        self._answers = AnswerReader()

    async def send(self, payload: bytes, timeout_s: float) -> Answer:
        """Raises LostError, NoConnectionError, MalformedError, TimeoutError."""
        async with asyncio.timeout(timeout_s):
            reader, writer = await self._open()
            try:
                writer.write(payload)
                await writer.drain()
            except OSError:
                pass  # it may have answered before it closed
            return await self._answer(reader)

    async def send_slowly(self, pieces: Sequence[bytes], pause_s: float, timeout_s: float) -> Answer:
        """As `send`, with a pause between the pieces."""
        async with asyncio.timeout(timeout_s):
            reader, writer = await self._open()
            with suppress(OSError):
                for piece in pieces:
                    writer.write(piece)
                    await writer.drain()
                    await asyncio.sleep(pause_s)
            return await self._answer(reader)

    async def leave_after(self, payload: bytes, seconds: float) -> None:
        """Sends and resets the connection. Raises NoConnectionError."""
        _, writer = await self._open()
        writer.write(payload)
        await asyncio.sleep(seconds)
        self.close()

    def close(self) -> None:
        if self._streams:
            self._streams[1].transport.abort()
            self._streams = None

    async def _open(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if self._streams and (self._streams[0].at_eof() or self._streams[1].is_closing()):
            self.close()
        if not self._streams:
            try:
                self._streams = await asyncio.open_connection(_HOST, self._port)
            except OSError as error:
                raise NoConnectionError(error.strerror) from error
            self._answers = AnswerReader()
        return self._streams

    async def _answer(self, reader: asyncio.StreamReader) -> Answer:
        data = b""
        try:
            while not (answer := self._answers.next()):
                try:
                    data = await reader.read(_BLOCK)
                except OSError:
                    data = b""
                self._answers.feed(data)
                if not data and not (answer := self._answers.next()):
                    raise LostError(heard=not self._answers.idle)
                if answer:
                    break
        except BaseException:
            self.close()
            raise
        if not self._answers.idle:
            self.close()
            raise MalformedError("more than one answer")
        if answer.closes or not data:
            self.close()
        return answer
