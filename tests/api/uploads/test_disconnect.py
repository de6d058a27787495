"""A client that leaves cancels its work."""

import asyncio
from typing import Any

import pytest
from starlette.requests import ClientDisconnect

from api.uploads.disconnect import CancelOnDisconnect


def test_disconnect_cancels_the_block() -> None:
    cancelled = []

    async def infer() -> None:
        leaves = asyncio.Event()

        async def receive() -> dict[str, Any]:
            await leaves.wait()
            return {"type": "http.disconnect"}

        async with CancelOnDisconnect(receive):
            leaves.set()
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                cancelled.append(True)
                raise

    with pytest.raises(ClientDisconnect):
        asyncio.run(infer())
    assert cancelled


@pytest.mark.parametrize("error", [TimeoutError, ValueError, ClientDisconnect])
def test_error_of_the_block_is_raised_unchanged(error: type[Exception]) -> None:
    async def never() -> dict[str, Any]:
        await asyncio.Event().wait()
        raise AssertionError

    async def check() -> None:
        async with CancelOnDisconnect(never):
            raise error

    with pytest.raises(error):
        asyncio.run(check())


def test_listener_ends_with_the_block() -> None:
    async def check() -> int:
        async def never() -> dict[str, Any]:
            await asyncio.Event().wait()
            raise AssertionError

        async with CancelOnDisconnect(never):
            await asyncio.sleep(0)
        await asyncio.sleep(0)
        return len(asyncio.all_tasks())

    assert asyncio.run(check()) == 1
