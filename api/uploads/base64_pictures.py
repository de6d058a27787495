"""Pictures inside JSON: base64 text or data URIs."""

import re
from base64 import b64decode
from typing import Any

import orjson

from api.problems import BodyTooLargeError, NoPictureError, ParameterError, RequestError

_DATA_URI = re.compile(r"data:[^,]{0,200};base64,", re.IGNORECASE)
_URL = re.compile(r"(?!data:)[a-z][a-z0-9+.-]{0,20}:", re.IGNORECASE)


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
        data = b64decode("".join(encoded.split()), validate=True)
    except ValueError:  # not base64, or not even ASCII
        return NoPictureError(f"{name} is neither base64 nor a data URI with base64.")
    return data if len(data) <= max_bytes else BodyTooLargeError(max_bytes)
