"""Small JSON bodies, limited in size and time."""

from typing import TypeVar

from pydantic import BaseModel, ValidationError
from starlette.requests import Request

from api.problems import validation_error
from api.uploads.body import BodyLimits, RequestBody

M = TypeVar("M", bound=BaseModel)

MAX_JSON_BYTES = 64 * 1024


async def read_json(request: Request, shape: type[M], timeout_s: float) -> M:
    """Raises RequestError, RequestValidationError for a body of another shape, ClientDisconnect."""
    body = RequestBody(request, BodyLimits(MAX_JSON_BYTES, MAX_JSON_BYTES, timeout_s))
    data = bytearray()
    while not body.ended:
        data += await body.next()
    try:
        return shape.model_validate_json(bytes(data))
    except ValidationError as error:
        raise validation_error("body", error) from None
