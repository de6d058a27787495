"""The media type of a response by the request's Accept header (RFC 9110, section 12.5.1)."""

import re

from starlette.types import Scope

_WEIGHT = re.compile(r"0?\.\d+|0\.?|1(\.0*)?")


def accepted_type(scope: Scope, offered: tuple[str, ...]) -> str:
    """The one of the `offered` media types that the client prefers; among equals the first.

    The first also if the client accepts none of them or sends no Accept. Media types are in lower case.
    """
    values = [str(value, "latin-1") for name, value in scope["headers"] if name == b"accept"]
    return _preferred(",".join(values), offered) if values else offered[0]


def _preferred(accept: str, offered: tuple[str, ...]) -> str:
    weights = dict(_weight(part) for part in accept.lower().split(","))
    return max(offered, key=lambda media_type: _quality(media_type, weights))


def _weight(part: str) -> tuple[str, float]:
    """A media range and its weight. A weight that is not a number from 0 to 1 counts as 0."""
    media_range, *parameters = "".join(part.split()).split(";")
    weight = next((text[2:] for text in parameters if text.startswith("q=")), "1")
    return media_range, float(weight) if _WEIGHT.fullmatch(weight) else 0.0


def _quality(media_type: str, weights: dict[str, float]) -> float:
    """The weight of the most specific range that matches."""
    ranges = (media_type, f"{media_type.partition('/')[0]}/*", "*/*")
    return next((weights[one] for one in ranges if one in weights), 0.0)
