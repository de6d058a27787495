"""Who may infer: keys, compared in constant time, kept as hashes only."""

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

# Finds the key that a request brings; None where there is none.
FindKey = Callable[[Request], str | None]


def key_in_header(request: Request) -> str | None:
    """The key of `Authorization: Bearer` or `X-API-Key`. Keys in addresses end in logs: those are never looked at."""
    authorization = request.headers.get("authorization", "")
    if authorization[: len(_BEARER)].lower() == _BEARER:
        return authorization[len(_BEARER) :].strip() or None
    return request.headers.get("x-api-key") or None


def key_or_password(request: Request) -> str | None:
    """As `key_in_header`, or the password of `Authorization: Basic`, which browsers ask people for.

    They send it by themselves, also for other sites' pages: only for addresses that change nothing.
    """
    if not brings_password(request):
        return key_in_header(request)
    try:
        encoded = request.headers["authorization"][len(_BASIC) :]
        _, _, password = b64decode(encoded, validate=True).decode().partition(":")
    except (binascii.Error, ValueError):
        return None
    return password or None


def brings_password(request: Request) -> bool:
    return request.headers.get("authorization", "")[: len(_BASIC)].lower() == _BASIC


class KeyRing:
    """The keys that open a door; without any, the door is open."""

    def __init__(self, keys: Iterable[str]) -> None:
        self._digests = [_digest_of_setting(key) for key in keys]

    def check(self, request: Request, find_key: FindKey = key_in_header) -> str | None:
        """The digest of the key that opened; None where the door is open anyway, whatever key was sent.

        Raises UnauthenticatedError without a key, WrongKeyError for one that is not in the ring.
        """
        if not self._digests:
            return None
        key = find_key(request)
        if key is None:
            raise UnauthenticatedError
        digest = _digest(key)
        if not sum(hmac.compare_digest(digest, known) for known in self._digests):  # every key is compared
            raise WrongKeyError
        return digest.hex()


def _digest(key: str) -> bytes:
    return hashlib.sha256(key.encode("utf-8", "surrogateescape")).digest()


def _digest_of_setting(key: str) -> bytes:
    return bytes.fromhex(key.removeprefix(_HASHED)) if key.startswith(_HASHED) else _digest(key)
