"""What runs before a request is read: its key, then its rate."""

from collections.abc import Awaitable, Callable

from starlette.requests import Request

from api.problems import AdminClosedError, UnauthenticatedError, WrongKeyError
from api.security.keys import KeyRing, brings_password, key_or_password
from api.security.rate_limit import RateLimit
from api.settings import ApiSettings

Guard = Callable[[Request], Awaitable[None]]

# Chromium asks nobody when Bearer stands behind it in one header.
_BROWSERS_ASK = 'Basic realm="Fovea: the key is the password"'


def user_guard(settings: ApiSettings) -> Guard:
    """Open to all without `keys`; an admin key opens it too."""
    keys = _user_keys(settings)
    rate = RateLimit(settings.rate_limit) if settings.rate_limit else None

    async def guard(request: Request) -> None:
        try:
            key = keys.check(request)
        except (UnauthenticatedError, WrongKeyError):
            if rate:
                rate.check(request, None)  # who guesses is counted by address
            raise
        if rate:
            rate.check(request, key)

    return guard


def admin_guard(settings: ApiSettings) -> Guard:
    """Closed to all without `admin_keys`."""
    keys = KeyRing(settings.admin_keys)
    rate = RateLimit(settings.rate_limit) if settings.rate_limit else None

    async def guard(request: Request) -> None:
        if not settings.admin_keys:
            raise AdminClosedError
        try:
            keys.check(request)
        except (UnauthenticatedError, WrongKeyError):
            if rate:
                rate.check(request, None)
            raise

    return guard


def protected_guard(settings: ApiSettings, name: str) -> Guard:
    """For `docs` and `metrics`: open to all, unless `protect` names it and there are keys.

    Those who look are browsers and Prometheus: the key may be a password, too.
    """
    keys = _user_keys(settings) if name in settings.protect else KeyRing(())

    async def guard(request: Request) -> None:
        try:
            keys.check(request, key_or_password)
        except UnauthenticatedError:
            raise UnauthenticatedError(_BROWSERS_ASK) from None
        except WrongKeyError:
            if brings_password(request):  # a browser asks again
                raise UnauthenticatedError(_BROWSERS_ASK) from None
            raise

    return guard


def key_check(settings: ApiSettings) -> Callable[[Request], bool]:
    """Whether a request may see what is for those with a key: all may where there are no keys."""
    keys = _user_keys(settings)

    def holds_key(request: Request) -> bool:
        try:
            keys.check(request, key_or_password)
        except (UnauthenticatedError, WrongKeyError):
            return False
        return True

    return holds_key


def _user_keys(settings: ApiSettings) -> KeyRing:
    return KeyRing((*settings.keys, *settings.admin_keys) if settings.keys else ())
