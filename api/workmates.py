"""What an operator does in one worker the others do, too, before the operator is answered."""

import asyncio
from itertools import count

from api.worker_link import Link


class Workmates:
    """Of a process that serves alone there are none."""

    def __init__(self) -> None:
        self._link: Link | None = None
        self._ids = count()
        self._waiting: dict[int, asyncio.Future[None]] = {}

    def connect(self, link: Link) -> None:
        self._link = link

    def followed(self, relay: int) -> None:
        future = self._waiting.get(relay)
        if future and not future.done():
            future.set_result(None)
