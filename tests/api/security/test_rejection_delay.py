"""Who is refused and comes back at once waits; who comes for the first time does not."""

import asyncio
from collections.abc import Hashable
from time import monotonic

from api.security.rejection_delay import Pace

PAUSE_S = 0.2
AT_ONCE_S = 0.1


async def took(pace: Pace, client: Hashable) -> float:
    started = monotonic()
    await pace.wait(client)
    return monotonic() - started


def test_a_first_refusal_is_told_at_once_and_the_next_after_the_pause() -> None:
    async def test() -> None:
        pace = Pace(PAUSE_S)
        for client in ("a", "b"):
            assert await took(pace, client) < AT_ONCE_S
        again = await asyncio.gather(took(pace, "a"), took(pace, "b"))
        assert min(again) > AT_ONCE_S
        assert await took(pace, "c") < AT_ONCE_S
        await asyncio.sleep(PAUSE_S)
        assert await took(pace, "a") < AT_ONCE_S

    asyncio.run(test())


def test_many_behind_one_address_wait_no_longer_than_the_pause() -> None:
    async def test() -> None:
        pace = Pace(PAUSE_S)
        waits = await asyncio.gather(*[took(pace, "a proxy") for _ in range(20)])
        assert max(waits) < 5 * PAUSE_S

    asyncio.run(test())


def test_those_who_end_together_wake_up_together_and_one_who_left_takes_nobody_along() -> None:
    async def test() -> None:
        pace = Pace(PAUSE_S)
        for client in range(50):
            await pace.wait(client)
        again = [asyncio.create_task(took(pace, client)) for client in range(50)]
        await asyncio.sleep(0)
        assert len(pace._ends) < 25
        again.pop().cancel()
        assert max(await asyncio.gather(*again)) < 5 * PAUSE_S
        assert not pace._ends

    asyncio.run(test())


def test_what_is_over_is_forgotten() -> None:
    async def test() -> None:
        pace = Pace(0.01)
        for number in range(1000):
            await pace.wait(number)
        await asyncio.sleep(0.05)
        await pace.wait("last")
        assert len(pace._next) == 1

    asyncio.run(test())
