"""A request's own deadline, nearer than the operator's."""

from typing import Any

from starlette.requests import Request

from api.problems import ParameterError
from api.uploads.body import header
from engine.inference_engine import AT_MOST, Wait

HEADER = "X-Request-Timeout-Ms"
_NAME = HEADER.lower().encode()
_MOST_DIGITS = 12

# For `openapi_extra` of the routes that take it.
WITH_DEADLINE: dict[str, Any] = {
    "parameters": [
        {
            "name": HEADER,
            "in": "header",
            "description": "Time from the whole picture's arrival to its answer, ms; above: 504. "
            "The service's own limit (API_REQUEST_TIMEOUT_MS) stands.",
            "schema": {"type": "integer", "minimum": 1},
        }
    ]
}


def asked_wait(request: Request, *, patient: bool = False) -> Wait:
    """How long the client says it waits. Raises ParameterError for what is no whole number of at least 1."""
    value = header(request, _NAME)
    if value is None:
        return Wait(skip_queue_limit=True) if patient else AT_MOST
    if not value.isdigit() or len(value) > _MOST_DIGITS or int(value) < 1:
        shown = value[:100].decode("latin-1")
        raise ParameterError(f"{HEADER}={shown}: give a whole number of milliseconds, at least 1")
    return Wait(int(value) / 1e3, patient)
