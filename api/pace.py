"""Refusals in a storm of them, one behind the other."""

import asyncio
from time import monotonic

# Of one process: a refusal costs up to a fifth of a millisecond, so these cost a twentieth of a core.
REFUSALS_A_SECOND = 250.0
# What the slowest refusal waits; clients are told to stay away for a second at least.
LONGEST_S = 1.0


class Pace:
    """Lets `per_second` go on; who comes faster waits for the next free moment, `longest_s` at most.

    Clients that come back as soon as they are refused would otherwise take the processor from those that are served.
    """

    def __init__(self, per_second: float = REFUSALS_A_SECOND, longest_s: float = LONGEST_S) -> None:
        self._gap_s, self._longest_s = 1 / per_second, longest_s
        self._next = 0.0

    async def wait(self) -> None:
        """At once where the last ones came slowly enough."""
        now = monotonic()
        at = min(max(self._next, now), now + self._longest_s)
        self._next = at + self._gap_s
        if at > now:
            await asyncio.sleep(at - now)
