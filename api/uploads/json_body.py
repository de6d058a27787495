"""Small JSON bodies, read after the guard has let the request in, and within limits."""

import asyncio
from typing import TypeVar

from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ValidationError
from starlette.requests import Request

from api.problems import BodyTooSlowError
from api.uploads.body import read_chunks, refuse_encoded

M = TypeVar("M", bound=BaseModel)

MAX_JSON_BYTES = 64 * 1024


async def read_json(request: Request, shape: type[M], timeout_s: float) -> M:
    """Raises RequestError; RequestValidationError for a body of another shape."""
    refuse_encoded(request)
    data = bytearray()
    try:
        async with asyncio.timeout(timeout_s):
            async for chunk in read_chunks(request, MAX_JSON_BYTES, MAX_JSON_BYTES):
                data += chunk
    except TimeoutError:
        raise BodyTooSlowError(timeout_s) from None
    try:
        return shape.model_validate_json(bytes(data))
    except ValidationError as error:
        problems = error.errors(include_url=False, include_context=False)
        raise RequestValidationError([{**problem, "loc": ("body", *problem["loc"])} for problem in problems]) from None
