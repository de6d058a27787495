"""Pictures inside JSON: base64 text or data URIs.

Large bodies are parsed in a thread, so that the event loop serves other requests. The JSON parser holds the
interpreter's lock until it ends, the decoder of base64 for one piece of the text.
"""

import asyncio
import re
from binascii import a2b_base64
from collections.abc import Callable
from typing import Any, TypeVar

import orjson

from api.problems import BodyTooLargeError, NoPictureError, ParameterError, RequestError

T = TypeVar("T")

_LARGE_BYTES = 64 * 1024
_PIECE_CHARACTERS = 1 << 18  # divisible by 4
_DATA_URI = re.compile(r"data:[^,]{0,200};base64,", re.IGNORECASE)
_URL = re.compile(r"(?!data:)[a-z][a-z0-9+.-]{0,20}:", re.IGNORECASE)


async def off_loop(size: int, parse: Callable[[], T]) -> T:
    """The result of `parse`, which reads `size` bytes; in a thread if they are many."""
    return parse() if size <= _LARGE_BYTES else await asyncio.to_thread(parse)


def parse_object(
    body: bytes | bytearray | memoryview, error_type: type[RequestError] = ParameterError
) -> dict[str, Any]:
    """Raises `error_type`. Its message has nothing of the body, which may hold pictures."""
    try:
        parsed = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise error_type(f"The body is not valid JSON: {error.msg}, at character {error.pos}.") from None
    if not isinstance(parsed, dict):
        raise error_type("The body must be a JSON object.")
    return parsed


def decode_picture(text: object, name: str, max_bytes: int) -> bytes:
    """The bytes of a picture. `name`: of its field, for the error. Raises NoPictureError, BodyTooLargeError."""
    data = picture_or_error(text, name, max_bytes)
    if isinstance(data, RequestError):
        raise data
    return data


def picture_or_error(text: object, name: str, max_bytes: int) -> bytes | RequestError:
    """As `decode_picture`. A returned error refers to no frame, and so to no other picture."""
    if not isinstance(text, str):
        return NoPictureError(f"{name} must be a string: a picture in base64, or a data URI.")
    data_uri = _DATA_URI.match(text)
    if _URL.match(text):
        return NoPictureError(
            f"{name} is a URL. This service opens none, since it would reach addresses that its clients cannot; "
            "download the picture, and send its bytes in base64 or as a data URI."
        )
    encoded = text[data_uri.end() :] if data_uri else text
    try:
        data = _decode("".join(encoded.split()))
    except ValueError:  # not base64, or not even ASCII
        return NoPictureError(f"{name} is neither base64 nor a data URI with base64.")
    return data if len(data) <= max_bytes else BodyTooLargeError(max_bytes)


def _decode(text: str) -> bytes:
    """In pieces, between which other threads run. Raises ValueError."""
    data = bytearray()
    for start in range(0, len(text), _PIECE_CHARACTERS):
        if data and text[start - 1] == "=":
            raise ValueError("data after the padding")
        data += a2b_base64(text[start : start + _PIECE_CHARACTERS], strict_mode=True)
    return bytes(data)
