"""How many requests one client may send in a time: by its key where keys are asked for, else by its address."""

import math
from ipaddress import IPv6Network

from limits import parse
from starlette.requests import Request

from api.middleware.trusted_proxies import plain_address
from api.problems import RateLimitedError
from api.rate_table import RateTable
from api.run_dir import run_dir

_TABLE = "rate-limit"


class RateLimit:
    """`rule` in the words of the library `limits`: "10/second", "600/minute". All workers count together."""

    def __init__(self, rule: str) -> None:
        self._item = parse(rule)
        folder = run_dir()
        self._table = RateTable(self._item.amount, self._item.get_expiry(), folder / _TABLE if folder else None)

    def check(self, request: Request, key: str | None) -> None:
        """Counts the request of whoever holds the checked `key`. Raises RateLimitedError when there are too many."""
        wait_s = self._table.hit(key or _by_address(request))
        if wait_s:
            raise RateLimitedError(str(self._item), max(1, math.ceil(wait_s)))


def _by_address(request: Request) -> str:
    """Of IPv6 the network of 64 bits: a client has all addresses in it."""
    told = request.client.host if request.client else "unknown"
    address = plain_address(told) or told
    if ":" not in address:
        return address
    try:
        return str(IPv6Network((address.partition("%")[0], 64), strict=False))
    except ValueError:
        return address
