"""Small JSON bodies, limited in size and time."""

from collections.abc import Awaitable, Callable
from typing import TypeVar

from pydantic import BaseModel, ValidationError
from starlette.requests import Request

from api.problems import validation_error
from api.uploads.body import BodyLimits, RequestBody

M = TypeVar("M", bound=BaseModel)

MAX_JSON_BYTES = 64 * 1024


def json_reader(shape: type[M], timeout_s: float) -> Callable[[Request], Awaitable[M]]:
    """A dependency that reads the body after the route's guard; FastAPI would read it before.

    It raises RequestError, RequestValidationError for a body of another shape, ClientDisconnect.
    """

    async def read(request: Request) -> M:
        body = RequestBody(request, BodyLimits(MAX_JSON_BYTES, MAX_JSON_BYTES, timeout_s))
        try:
            return shape.model_validate_json(await body.read())
        except ValidationError as error:
            raise validation_error("body", error) from None

    return read
