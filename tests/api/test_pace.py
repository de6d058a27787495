"""Refusals in a storm: one behind the other, and none of them waits for ever."""

import asyncio
from time import monotonic

from api.pace import Pace


def took(pace: Pace, count: int) -> list[float]:
    async def one() -> float:
        started = monotonic()
        await pace.wait()
        return monotonic() - started

    async def all_at_once() -> list[float]:
        return await asyncio.gather(*[one() for _ in range(count)])

    return asyncio.run(all_at_once())


def test_who_comes_alone_goes_on_at_once() -> None:
    pace = Pace(per_second=1000, longest_s=10)
    assert all(took(pace, 1)[0] < 0.1 for _ in range(3))


def test_a_crowd_goes_on_one_behind_the_other_up_to_a_limit() -> None:
    waits = took(Pace(per_second=50, longest_s=0.2), 30)
    assert waits[0] < 0.02 < waits[2] < waits[8]
    assert 0.19 < waits[-1] < 5
    assert waits[29] - waits[15] < 0.1
