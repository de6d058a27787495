"""API keys: where a request carries its key, and which keys are valid. Only hashes are kept."""

import binascii
import hashlib
import hmac
from base64 import b64decode
from collections.abc import Callable, Iterable

from starlette.requests import Request

from api.problems import UnauthenticatedError, WrongKeyError

_HASHED = "sha256:"
_BEARER = "bearer "
_BASIC = "basic "

# Returns the key of a request, or None.
FindKey = Callable[[Request], str | None]


def key_in_header(request: Request) -> str | None:
    """Returns the key in `Authorization: Bearer` or `X-API-Key`. Keys in URLs end up in logs and are ignored."""
    authorization = request.headers.get("authorization", "")
    if authorization[: len(_BEARER)].lower() == _BEARER:
        return authorization[len(_BEARER) :].strip() or None
    return request.headers.get("x-api-key") or None


def key_or_password(request: Request) -> str | None:
    """As `key_in_header`, or the password in `Authorization: Basic`.

    Use it only for routes that change nothing: browsers also send Basic credentials with requests of other sites.
    """
    if not has_basic_credentials(request):
        return key_in_header(request)
    try:
        encoded = request.headers["authorization"][len(_BASIC) :]
        _, _, password = b64decode(encoded, validate=True).decode().partition(":")
    except (binascii.Error, ValueError):
        return None
    return password or None


def has_basic_credentials(request: Request) -> bool:
    return request.headers.get("authorization", "")[: len(_BASIC)].lower() == _BASIC


class KeyRing:
    """A set of valid keys, as text or `sha256:<hex>`. Without keys, every request is valid."""

    def __init__(self, keys: Iterable[str]) -> None:
        self._digests = [_digest_of_setting(key) for key in keys]

    def check(self, request: Request, find_key: FindKey = key_in_header) -> str | None:
        """Returns the SHA-256 digest of the request's key in hex, or None if the ring is empty.

        Raises UnauthenticatedError without a key, WrongKeyError for a key that is not in the ring.
        """
        if not self._digests:
            return None
        key = find_key(request)
        if key is None:
            raise UnauthenticatedError
        digest = _digest(key)
        if not sum(hmac.compare_digest(digest, known) for known in self._digests):  # compares all: constant time
            raise WrongKeyError
        return digest.hex()


def _digest(key: str) -> bytes:
    return hashlib.sha256(key.encode("utf-8", "surrogateescape")).digest()


def _digest_of_setting(key: str) -> bytes:
    return bytes.fromhex(key.removeprefix(_HASHED)) if key.startswith(_HASHED) else _digest(key)
