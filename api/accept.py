"""The media type of a response by the request's Accept header (RFC 9110, section 12.5.1)."""

from functools import lru_cache

from starlette.types import Scope

_CACHED_HEADERS = 64


def accepted_type(scope: Scope, offered: tuple[str, ...]) -> str:
    """The one of the `offered` media types that the client prefers; among equals the first.

    The first also if the client accepts none of them or sends no Accept. Media types are in lower case.
    """
    values = [str(value, "latin-1") for name, value in scope["headers"] if name == b"accept"]
    return _preferred(",".join(values), offered) if values else offered[0]


@lru_cache(_CACHED_HEADERS)
def _preferred(accept: str, offered: tuple[str, ...]) -> str:
    weights = dict(_weight(part) for part in accept.lower().split(","))
    return max(offered, key=lambda media_type: _quality(media_type, weights))


def _weight(part: str) -> tuple[str, float]:
    """A media range and its weight. A weight that is not a number from 0 to 1 counts as 0."""
    media_range, *parameters = (piece.strip() for piece in part.split(";"))
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name.strip() == "q":
            return media_range, _number(value)
    return media_range, 1.0


def _number(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        return 0.0
    return value if 0 <= value <= 1 else 0.0


def _quality(media_type: str, weights: dict[str, float]) -> float:
    """The weight of the most specific range that matches."""
    ranges = (media_type, f"{media_type.partition('/')[0]}/*", "*/*")
    return next((weights[one] for one in ranges if one in weights), 0.0)
