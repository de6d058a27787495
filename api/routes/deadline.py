"""X-Request-Timeout-Ms: a request's own deadline."""

from typing import Any

from starlette.requests import Request

from api.headers import header
from api.problems import ParameterError
from engine.inference_engine import Wait

HEADER = "X-Request-Timeout-Ms"
_HEADER = HEADER.lower().encode()
_MOST_DIGITS = 12

# For `openapi_extra` of the routes that read it.
WITH_DEADLINE: dict[str, Any] = {
    "parameters": [
        {
            "name": HEADER,
            "in": "header",
            "description": "Maximum milliseconds from the end of the upload to the response, in a batch from each "
            "picture's turn to its result; then 504, for an explanation an incomplete answer. "
            "It can only shorten the service's own limit, API_REQUEST_TIMEOUT_MS.",
            "schema": {"type": "integer", "minimum": 1},
        }
    ]
}


def requested_wait(request: Request, *, skip_queue_limit: bool = False) -> Wait:
    """How long the client waits. Raises ParameterError for a header that is not a whole number of at least 1."""
    value = header(request.scope, _HEADER)
    if value is None:
        return Wait(skip_queue_limit=skip_queue_limit)
    if not value.isdecimal() or len(value) > _MOST_DIGITS or int(value) < 1:
        raise ParameterError(f"{HEADER}={value[:100]}: give a whole number of milliseconds, at least 1")
    return Wait(int(value) / 1e3, skip_queue_limit)
