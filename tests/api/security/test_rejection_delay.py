"""A client that comes back right after a rejection is delayed; other clients are not."""

import asyncio
from collections.abc import Hashable
from contextlib import suppress

from api.security.rejection_delay import RejectionDelay

LONG_S = 3600.0
SHORT_S = 0.05
END_S = 20.0


async def is_delayed(delay: RejectionDelay, client: Hashable) -> bool:
    """Whether `client` still waits after the event loop has run everything that is ready."""
    waiting = asyncio.ensure_future(delay.wait(client))
    await asyncio.sleep(0)
    delayed = not waiting.done()
    waiting.cancel()
    with suppress(asyncio.CancelledError):
        await waiting
    return delayed


def test_only_repeated_rejections_are_delayed() -> None:
    async def test() -> None:
        delay = RejectionDelay(LONG_S)
        assert [await is_delayed(delay, client) for client in ("a", "b")] == [False, False]
        assert [await is_delayed(delay, client) for client in ("a", "b", "c")] == [True, True, False]

    asyncio.run(test())


def test_delay_ends_and_the_next_rejection_is_immediate() -> None:
    async def test() -> None:
        delay = RejectionDelay(SHORT_S)
        await delay.wait("a")
        async with asyncio.timeout(END_S):
            await delay.wait("a")
        await asyncio.sleep(2 * SHORT_S)
        assert not await is_delayed(delay, "a")

    asyncio.run(test())


def test_clients_behind_one_address_are_delayed_together() -> None:
    """Their delays do not add up."""

    async def test() -> None:
        delay = RejectionDelay(SHORT_S)
        async with asyncio.timeout(END_S):
            await asyncio.gather(*[delay.wait("a proxy") for _ in range(1000)])

    asyncio.run(test())


def test_past_delays_are_forgotten() -> None:
    async def test() -> None:
        delay = RejectionDelay(SHORT_S)
        for client in range(1000):
            await delay.wait(client)
        await asyncio.sleep(2 * SHORT_S)
        await delay.wait("last")
        assert len(delay._next) == 1

    asyncio.run(test())
