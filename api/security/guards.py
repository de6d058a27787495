"""Dependencies that check a request's key and rate before its body is read."""

from collections.abc import Awaitable, Callable

from starlette.requests import Request

from api.problems import AdminClosedError, UnauthenticatedError, WrongKeyError
from api.security.keys import KeyRing, has_basic_credentials, key_or_password
from api.security.rate_limit import RateLimit
from api.settings import ApiSettings

Guard = Callable[[Request], Awaitable[None]]

# Chromium shows no password dialog if Bearer follows in the same header.
_BASIC_CHALLENGE = 'Basic realm="Fovea: the key is the password"'


def user_guard(settings: ApiSettings) -> Guard:
    """Requires a user or admin key if `keys` are set, and enforces the rate limit of each client."""
    keys, rate = _user_keys(settings), _rate_limit(settings)

    async def guard(request: Request) -> None:
        try:
            key = keys.check(request)
        except (UnauthenticatedError, WrongKeyError):
            if rate:
                await rate.check(request, None)  # limits the guessing of keys
            raise
        if rate:
            await rate.check(request, key)

    return guard


def admin_guard(settings: ApiSettings) -> Guard:
    """Requires an admin key; rejects every request if `admin_keys` is empty."""
    keys, rate = KeyRing(settings.admin_keys), _rate_limit(settings)

    async def guard(request: Request) -> None:
        if not settings.admin_keys:
            raise AdminClosedError
        try:
            keys.check(request)
        except (UnauthenticatedError, WrongKeyError):
            if rate:
                await rate.check(request, None)
            raise

    return guard


def protected_guard(settings: ApiSettings, name: str) -> Guard:
    """Requires a key for `name`, docs or metrics, if `protect` contains it and `keys` are set.

    The key may also be the password of HTTP Basic, which browsers and Prometheus support.
    """
    keys = _user_keys(settings) if name in settings.protect else KeyRing(())

    async def guard(request: Request) -> None:
        try:
            keys.check(request, key_or_password)
        except UnauthenticatedError:
            raise UnauthenticatedError(_BASIC_CHALLENGE) from None
        except WrongKeyError:
            if has_basic_credentials(request):  # a browser shows its password dialog again
                raise UnauthenticatedError(_BASIC_CHALLENGE) from None
            raise

    return guard


def key_check(settings: ApiSettings) -> Callable[[Request], bool]:
    """Returns a function that is true for requests with a valid key, and for all requests if `keys` is empty."""
    keys = _user_keys(settings)

    def has_valid_key(request: Request) -> bool:
        try:
            keys.check(request, key_or_password)
        except (UnauthenticatedError, WrongKeyError):
            return False
        return True

    return has_valid_key


def _user_keys(settings: ApiSettings) -> KeyRing:
    return KeyRing((*settings.keys, *settings.admin_keys) if settings.keys else ())


def _rate_limit(settings: ApiSettings) -> RateLimit | None:
    return RateLimit(settings.rate_limit, settings.rate_limit_storage) if settings.rate_limit else None
