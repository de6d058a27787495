"""How many requests one client may send in a time: by its key where keys are asked for, else by its address."""

import math
import time

from limits import parse
from limits.storage import MemoryStorage
from limits.strategies import MovingWindowRateLimiter
from starlette.requests import Request

from api.problems import RateLimitedError


class RateLimit:
    """`rule` in the words of the library `limits`: "10/second", "600/minute"."""

    def __init__(self, rule: str) -> None:
        self._item = parse(rule)
        self._limiter = MovingWindowRateLimiter(MemoryStorage())

    def check(self, request: Request, key: str | None) -> None:
        """Counts the request of whoever holds the checked `key`. Raises RateLimitedError when there are too many."""
        client = key or (request.client.host if request.client else "unknown")
        if not self._limiter.hit(self._item, client):
            reset = self._limiter.get_window_stats(self._item, client).reset_time
            raise RateLimitedError(str(self._item), max(1, math.ceil(reset - time.time())))
