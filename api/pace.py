"""Refusals to clients that do not take them for an answer."""

import asyncio
from collections.abc import Hashable
from time import monotonic

# Retry-After is never less.
PAUSE_S = 1.0


class Pace:
    """A client is refused once in `pause_s`: who comes back sooner waits for the rest of it.

    A refusal costs a tenth of a millisecond or two. Clients that come back at once would take the processor from those
    that are served; the others are told at once.
    """

    def __init__(self, pause_s: float = PAUSE_S) -> None:
        self._pause_s = pause_s
        # When it may be refused again; the order is about that of these times.
        self._next: dict[Hashable, float] = {}

    async def wait(self, client: Hashable) -> None:
        """`client`: its address and port; one behind a proxy may share them, and waits `pause_s` at most."""
        now = monotonic()
        self._forget(now)
        at = min(max(self._next.pop(client, now), now), now + self._pause_s)
        self._next[client] = at + self._pause_s
        if at > now:
            await asyncio.sleep(at - now)

    def _forget(self, now: float) -> None:
        while self._next and self._next[first := next(iter(self._next))] < now:
            del self._next[first]
