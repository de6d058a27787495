"""What runs before a request is read: its key, then its rate."""

from collections.abc import Awaitable, Callable

from starlette.requests import Request

from api.auth import KeyRing
from api.problems import AdminClosedError
from api.rate_limit import RateLimit
from api.settings import ApiSettings

Guard = Callable[[Request], Awaitable[None]]


def user_guard(settings: ApiSettings) -> Guard:
    """Open to all without `keys`; an admin key opens it too."""
    keys = KeyRing((*settings.keys, *settings.admin_keys) if settings.keys else ())
    rate = RateLimit(settings.rate_limit) if settings.rate_limit else None

    async def guard(request: Request) -> None:
        key = keys.check(request)
        if rate:
            rate.check(request, key)

    return guard


def admin_guard(settings: ApiSettings) -> Guard:
    """Closed to all without `admin_keys`."""
    keys = KeyRing(settings.admin_keys)

    async def guard(request: Request) -> None:
        if not settings.admin_keys:
            raise AdminClosedError
        keys.check(request)

    return guard
