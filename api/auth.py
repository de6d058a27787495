"""Who may infer: keys, compared in constant time, kept as hashes only."""

import hashlib
import hmac
from collections.abc import Iterable

from starlette.requests import Request

from api.problems import UnauthenticatedError, WrongKeyError

_HASHED = "sha256:"
_BEARER = "bearer "


class KeyRing:
    """The keys that open a door; without any, the door is open."""

    def __init__(self, keys: Iterable[str]) -> None:
        self._digests = [_digest_of_setting(key) for key in keys]

    def check(self, request: Request) -> str | None:
        """The digest of the key that opened; None where the door is open anyway, whatever key was sent.

        Raises UnauthenticatedError without a key, WrongKeyError for one that is not in the ring.
        """
        if not self._digests:
            return None
        key = _sent_key(request)
        if key is None:
            raise UnauthenticatedError
        digest = _digest(key)
        if not sum(hmac.compare_digest(digest, known) for known in self._digests):  # every key is compared
            raise WrongKeyError
        return digest.hex()


def _sent_key(request: Request) -> str | None:
    """The key of `Authorization: Bearer` or `X-API-Key`."""
    authorization = request.headers.get("authorization", "")
    if authorization[: len(_BEARER)].lower() == _BEARER:
        return authorization[len(_BEARER) :].strip() or None
    return request.headers.get("x-api-key") or None


def _digest(key: str) -> bytes:
    return hashlib.sha256(key.encode("utf-8", "surrogateescape")).digest()


def _digest_of_setting(key: str) -> bytes:
    return bytes.fromhex(key.removeprefix(_HASHED)) if key.startswith(_HASHED) else _digest(key)
