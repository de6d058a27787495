"""What a supervisor and a worker tell each other: JSON, a line each, over a pair of connected sockets."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from enum import StrEnum
from typing import Any

# Of one message: far above any, and a bound on what a line may take.
_LINE_BYTES = 1 << 20


class Kind(StrEnum):
    """From the worker: READY, it serves; FOLLOW, what it has done and the others shall do; FOLLOWED, it has.

    To the worker: FOLLOW; FOLLOWED, the others have; QUARANTINE; DRAIN, say that the service ends; STOP, end.
    """

    READY = "ready"
    FOLLOW = "follow"
    FOLLOWED = "followed"
    QUARANTINE = "quarantine"
    DRAIN = "drain"
    STOP = "stop"


class Link:
    """One end. Writing never waits: messages are few and small."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    @classmethod
    async def open(cls, connected: socket.socket) -> "Link":
        return cls(*await asyncio.open_unix_connection(sock=connected, limit=_LINE_BYTES))

    def tell(self, kind: Kind, **facts: object) -> None:
        if not self._writer.is_closing():
            self._writer.write(json.dumps({"kind": kind, **facts}).encode() + b"\n")

    async def messages(self) -> AsyncIterator[tuple[Kind, dict[str, Any]]]:
        """Until the other end is gone."""
        while line := await self._line():
            facts = json.loads(line)
            yield Kind(facts.pop("kind")), facts

    def close(self) -> None:
        self._writer.close()

    async def _line(self) -> bytes:
        try:
            line = await self._reader.readline()
        except OSError:
            return b""
        return line if line.endswith(b"\n") else b""
