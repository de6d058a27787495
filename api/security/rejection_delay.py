"""Delays repeated 503s to one client, so that retry storms cost little."""

import asyncio
from collections.abc import Hashable
from time import monotonic

# Retry-After is never shorter.
_DELAY_S = 1.0


class RejectionDelay:
    """Lets a client be rejected once in `delay_s`: a client that comes back sooner waits for the rest of that time.

    A rejection costs some 60 us: clients that retry at once would take processor time from requests that are served.
    Used in one event loop.
    """

    def __init__(self, delay_s: float = _DELAY_S) -> None:
        self._delay_s = delay_s
        # When each client may be rejected next, ordered by about that time.
        self._next: dict[Hashable, float] = {}

    async def wait(self, client: Hashable) -> None:
        """Waits `delay_s` at most: `client` is an address and port, which a proxy's clients share."""
        now = monotonic()
        self._forget(now)
        at = min(max(self._next.pop(client, now), now), now + self._delay_s)
        self._next[client] = at + self._delay_s
        if at > now:
            await asyncio.sleep(at - now)

    def _forget(self, now: float) -> None:
        while self._next and self._next[first := next(iter(self._next))] < now:
            del self._next[first]
