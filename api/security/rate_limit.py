"""Rate limit of each client, by the library `limits`: by its key, or by its address if no key is required."""

import logging
import math
import time
from ipaddress import IPv6Network
from typing import TYPE_CHECKING

from starlette.requests import Request

from api.middleware.trusted_proxies import plain_address
from api.problems import RateLimitedError

if TYPE_CHECKING:
    from limits.aio.strategies import RateLimiter

# The library's memory store walks through all its clients at every request: this many stores share them.
_MEMORY_SHARDS = 256
_REDIS_TIMEOUT_S = 0.5
_REDIS_CONNECTIONS = 32
# After an error, requests are served without Redis for so long: a host that does not answer delays few of them.
_RETRY_S = 5.0
_WARN_S = 60.0

_log = logging.getLogger("fovea")


class RateLimit:
    """`rule` in the notation of `limits`: "10/second", "600/minute".

    | `storage` | counts the requests to | in |
    |---|---|---|
    | "" | this process | a sliding window counter: the previous period counts in proportion to its overlap |
    | redis://, rediss:// or unix:// URL | all workers and machines | an exact moving window |

    While Redis cannot be reached, requests are served without a limit, and a warning is logged once a minute.
    """

    def __init__(self, rule: str, storage: str = "") -> None:
        from limits import parse

        self._rule = parse(rule)
        self._limiters = [_redis_limiter(storage)] if storage else _memory_limiters()
        self._retry_at = self._warn_at = -math.inf

    async def check(self, request: Request, key: str | None) -> None:
        """Counts a request of the client with the validated `key`. Raises RateLimitedError above the limit."""
        from limits.errors import StorageError

        if time.monotonic() < self._retry_at:
            return
        client = key or _client_address(request)
        limiter = self._limiters[hash(client) % len(self._limiters)]
        try:
            if await limiter.hit(self._rule, client):
                return
            reset_time = (await limiter.get_window_stats(self._rule, client)).reset_time
        except StorageError as error:
            self._skip_storage(error)
            return
        raise RateLimitedError(str(self._rule), max(1, math.ceil(reset_time - time.time())))

    def _skip_storage(self, error: Exception) -> None:
        now = time.monotonic()
        self._retry_at = now + _RETRY_S
        if now >= self._warn_at:
            self._warn_at = now + _WARN_S
            _log.warning("rate limit storage failed, requests are served without a limit  error=%s", error)


def _memory_limiters() -> "list[RateLimiter]":
    """Two counters a client: the library's moving window starts a thread's task for every client at every request."""
    from limits.aio.storage import MemoryStorage
    from limits.aio.strategies import SlidingWindowCounterRateLimiter

    return [SlidingWindowCounterRateLimiter(MemoryStorage()) for _ in range(_MEMORY_SHARDS)]


def _redis_limiter(url: str) -> "RateLimiter":
    from limits.aio.storage import RedisStorage
    from limits.aio.strategies import MovingWindowRateLimiter
    from redis.asyncio import BlockingConnectionPool
    from redis.asyncio.retry import Retry
    from redis.backoff import NoBackoff

    pool = BlockingConnectionPool.from_url(
        url,
        max_connections=_REDIS_CONNECTIONS,
        timeout=_REDIS_TIMEOUT_S,
        socket_timeout=_REDIS_TIMEOUT_S,
        socket_connect_timeout=_REDIS_TIMEOUT_S,
        retry=Retry(NoBackoff(), 0),
    )
    storage = RedisStorage(
        "async+redis://",
        wrap_exceptions=True,
        implementation="redispy",
        key_prefix="fovea",
        connection_pool=pool,  # type: ignore[arg-type]  # documented, but missing in the annotation
    )
    return MovingWindowRateLimiter(storage)


def _client_address(request: Request) -> str:
    """An IPv6 client owns the /64 network of its address."""
    host = request.client.host if request.client else "unknown"
    address = plain_address(host)
    if address and ":" in address:
        return str(IPv6Network((address, 64), strict=False))
    return address or host
