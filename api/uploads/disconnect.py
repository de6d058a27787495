"""Cancels a request's work when its client disconnects, under any ASGI server."""

import asyncio
from types import TracebackType

from starlette.requests import ClientDisconnect
from starlette.types import Receive


class CancelOnDisconnect:
    """Use it after the whole body was received. Raises ClientDisconnect when the client leaves inside the block."""

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self._has_left = False

    async def __aenter__(self) -> None:
        self._task = asyncio.current_task()
        self._listener = asyncio.create_task(self._listen())

    async def _listen(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        self._has_left = True
        if self._task:
            self._task.cancel()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._listener.cancel()
        task, self._task = self._task, None
        if self._has_left and task and task.uncancel() == 0 and kind is asyncio.CancelledError:
            raise ClientDisconnect from None
