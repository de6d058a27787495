"""Dependencies that check a request's key and rate before its body is read."""

from collections.abc import Awaitable, Callable

from starlette.requests import Request

from api.problems import AdminClosedError, UnauthenticatedError, WrongKeyError
from api.security.keys import FindKey, KeyRing, has_basic_credentials, key_in_header, key_or_password
from api.security.rate_limit import RateLimit
from api.settings import ApiSettings

Guard = Callable[[Request], Awaitable[None]]

# Chromium shows no password dialog if Bearer follows in the same header.
_BASIC_CHALLENGE = 'Basic realm="Fovea: the key is the password"'


class Guards:
    """All guards share one rate limit. It counts requests for inference, and each missing or wrong key by address."""

    def __init__(self, settings: ApiSettings) -> None:
        self._users = KeyRing((*settings.keys, *settings.admin_keys) if settings.keys else ())
        self._admins = KeyRing(settings.admin_keys)
        self._settings = settings
        self._rate = RateLimit(settings.rate_limit, settings.rate_limit_storage) if settings.rate_limit else None

    async def user(self, request: Request) -> None:
        """Requires a user or admin key if `keys` are set, and enforces the rate limit of each client."""
        await self.user_by(request, key_in_header)

    async def user_by(self, request: Request, find_key: FindKey) -> None:
        """As `user`, with a key from elsewhere than a header."""
        key = await self._check_key(request, self._users, find_key)
        if self._rate:
            await self._rate.check(request, key)

    async def admin(self, request: Request) -> None:
        """Requires an admin key; rejects every request if `admin_keys` is empty."""
        if not self._settings.admin_keys:
            raise AdminClosedError
        await self._check_key(request, self._admins)

    def protected(self, name: str) -> Guard:
        """Requires a key for `name`, docs or metrics, if `protect` contains it and `keys` are set.

        The key may also be the password of HTTP Basic, which browsers and Prometheus support.
        """
        keys = self._users if name in self._settings.protect else KeyRing(())

        async def guard(request: Request) -> None:
            try:
                await self._check_key(request, keys, key_or_password)
            except UnauthenticatedError:
                raise UnauthenticatedError(_BASIC_CHALLENGE) from None
            except WrongKeyError:
                if has_basic_credentials(request):  # a browser shows its password dialog again
                    raise UnauthenticatedError(_BASIC_CHALLENGE) from None
                raise

        return guard

    async def has_key(self, request: Request) -> bool:
        """Whether the request has a valid key, or none is needed. A request without a key is not counted."""
        if self._settings.keys and key_or_password(request) is None:
            return False
        try:
            await self._check_key(request, self._users, key_or_password)
        except WrongKeyError:
            return False
        return True

    async def _check_key(self, request: Request, keys: KeyRing, find_key: FindKey = key_in_header) -> str | None:
        try:
            return keys.check(request, find_key)
        except (UnauthenticatedError, WrongKeyError):
            if self._rate:
                await self._rate.check(request, None)  # limits the guessing of keys
            raise
