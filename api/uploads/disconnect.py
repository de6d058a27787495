"""Cancels a request's work when its client disconnects, under any ASGI server."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from starlette.requests import ClientDisconnect
from starlette.types import Receive


@asynccontextmanager
async def cancel_on_disconnect(receive: Receive) -> AsyncIterator[None]:
    """Call it after the whole body was received. Raises ClientDisconnect when the client leaves inside the block."""
    loop = asyncio.get_running_loop()

    def expire(_: object) -> None:
        if inside:
            scope.reschedule(loop.time())

    inside = True
    try:
        async with asyncio.timeout(None) as scope:
            listener = loop.create_task(_disconnected(receive))
            listener.add_done_callback(expire)
            try:
                yield
            finally:
                inside = False
                listener.cancel()
    except TimeoutError:
        if not scope.expired():
            raise
        raise ClientDisconnect from None


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
