"""Refusals to clients that do not take them for an answer."""

import asyncio
from asyncio import Event
from collections.abc import Hashable
from math import ceil
from time import monotonic

# Retry-After is never less.
PAUSE_S = 1.0
# They end together that would end so near to each other: the event loop, beside busy lanes, wakes up once for all.
_TICK_S = 0.05


class Pace:
    """A client is refused once in `pause_s`: who comes back sooner waits for the rest of it.

    A refusal takes some 60 us. Clients that come back at once would take the processor from those
    that are served; the others are told at once. All of it happens in one event loop.
    """

    def __init__(self, pause_s: float = PAUSE_S) -> None:
        self._pause_s = pause_s
        # When it may be refused again; the order is about that of these times.
        self._next: dict[Hashable, float] = {}
        # Of those that wait, by the number of the tick in which that ends.
        self._ends: dict[int, Event] = {}

    async def wait(self, client: Hashable) -> None:
        """`client`: its address and port; one behind a proxy may share them, and waits `pause_s` at most."""
        now = monotonic()
        self._forget(now)
        at = min(max(self._next.pop(client, now), now), now + self._pause_s)
        self._next[client] = at + self._pause_s
        if at > now:
            await self._end_of(ceil(at / _TICK_S), now).wait()

    def _end_of(self, tick: int, now: float) -> Event:
        end = self._ends.get(tick)
        if end is None:
            end = self._ends[tick] = Event()
            asyncio.get_running_loop().call_later(tick * _TICK_S - now, self._end, tick)
        return end

    def _end(self, tick: int) -> None:
        self._ends.pop(tick).set()

    def _forget(self, now: float) -> None:
        while self._next and self._next[first := next(iter(self._next))] < now:
            del self._next[first]
