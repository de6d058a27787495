"""HTTP-level exceptions, and the one table that maps every exception to RFC 9457 problem details."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from traceback import clear_frames
from typing import Any

import orjson
from fastapi.exceptions import RequestValidationError
from pydantic import ValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Match

from engine.drawing import UndrawableError
from engine.explain.target import ExplainError
from engine.inference_engine import DeadlineExceededError
from engine.models.admin import InvalidModelError, ModelConflictError
from engine.models.load_attempt import ModelUnavailableError
from engine.scheduling.scheduler import QueueFullError
from engine.tasks.task import InvalidOutputError
from loaders.images.errors import (
    CorruptImageError,
    EmptyImageError,
    ImageTooLargeError,
    TruncatedImageError,
    UnsupportedFormatError,
)
from loaders.model_errors import ModelRunError, ModelStateError, RunMemoryError, UnknownModelError

MEDIA_TYPE = "application/problem+json"
_METHODS = ("DELETE", "GET", "PATCH", "POST", "PUT")


class RequestError(Exception):
    """The request cannot be served. The message names the problem and the remedy."""


class BodyTooLargeError(RequestError):
    def __init__(self, max_bytes: int) -> None:
        super().__init__(f"The upload is larger than {max_bytes:,} bytes, the maximum here.")


class BodyTooSlowError(RequestError):
    def __init__(self, timeout_s: float) -> None:
        super().__init__(f"The request's body did not arrive within {timeout_s:g} s.")


class MalformedMultipartError(RequestError):
    """The multipart body does not follow RFC 7578."""


class NoPictureError(RequestError):
    """The body is valid, but it does not hold the expected picture."""


class TooManyPicturesError(RequestError):
    def __init__(self, limit: int) -> None:
        super().__init__(f"The request has more than {limit} pictures; send the others in a second request.")


class UnknownFieldError(RequestError):
    """`remedy` says where the data belongs."""

    def __init__(self, name: str, remedy: str) -> None:
        super().__init__(f"The request has an unknown field {name!r}. {remedy}")


class ContentEncodingError(RequestError):
    def __init__(self, encoding: str) -> None:
        super().__init__(f"Content-Encoding {encoding!r} is not supported; send the body without it.")


class UnauthenticatedError(RequestError):
    """`challenge` is the value of WWW-Authenticate (RFC 9110)."""

    def __init__(self, challenge: str = "Bearer") -> None:
        self.challenge = challenge
        super().__init__("A key is needed: send it as 'Authorization: Bearer <key>' or 'X-API-Key: <key>'.")


class WrongKeyError(RequestError):
    def __init__(self) -> None:
        super().__init__("This key is not valid here.")


class RateLimitedError(RequestError):
    def __init__(self, limit: str, retry_after_s: int) -> None:
        self.retry_after_s = retry_after_s
        super().__init__(f"The rate limit is {limit}; try again in {retry_after_s} s.")


class NotReadyError(RequestError):
    """The service cannot infer now; the message names the failing part."""

    retry_after_s = 1


class UploadsFullError(RequestError):
    retry_after_s = 1

    def __init__(self) -> None:
        super().__init__("The memory for uploads in progress is used up; try again in 1 s.")


class ParameterError(RequestError):
    """A parameter is invalid, or parameters contradict each other."""


class InvalidRequestError(RequestError):
    """A dialect does not offer what the request asks for; a tensor does not fit the protocol or the model."""


class NotSupportedError(RequestError):
    """A part of a protocol that this service does not offer."""


class AdminClosedError(RequestError):
    def __init__(self) -> None:
        super().__init__("Changing models over HTTP is disabled; set API_ADMIN_KEYS to enable it.")


class DigestError(RequestError):
    def __init__(self, expected: str, found: str) -> None:
        super().__init__(f"The sha256 of the upload is {found}, not {expected}; send it again.")


@dataclass(frozen=True, slots=True)
class Kind:
    """One row of the table of errors in docs/api.md."""

    status: int
    code: str


KINDS: dict[type[Exception], Kind] = {
    EmptyImageError: Kind(400, "empty_image"),
    TruncatedImageError: Kind(400, "truncated_image"),
    CorruptImageError: Kind(400, "undecodable_image"),
    NoPictureError: Kind(400, "no_picture"),
    MalformedMultipartError: Kind(400, "malformed_multipart"),
    InvalidRequestError: Kind(400, "invalid_request"),
    UnauthenticatedError: Kind(401, "no_key"),
    WrongKeyError: Kind(403, "wrong_key"),
    UnknownModelError: Kind(404, "unknown_model"),
    UndrawableError: Kind(406, "not_drawable"),
    BodyTooSlowError: Kind(408, "body_too_slow"),
    AdminClosedError: Kind(403, "admin_closed"),
    ModelConflictError: Kind(409, "conflict"),
    ModelStateError: Kind(409, "models_not_writable"),
    InvalidModelError: Kind(422, "invalid_model"),
    DigestError: Kind(422, "wrong_digest"),
    ParameterError: Kind(422, "invalid_parameter"),
    ExplainError: Kind(422, "invalid_target"),
    BodyTooLargeError: Kind(413, "too_many_bytes"),
    TooManyPicturesError: Kind(413, "too_many_pictures"),
    ImageTooLargeError: Kind(413, "too_many_pixels"),
    UnsupportedFormatError: Kind(415, "unsupported_format"),
    ContentEncodingError: Kind(415, "unsupported_content_encoding"),
    RequestValidationError: Kind(422, "invalid_parameter"),
    UnknownFieldError: Kind(422, "unknown_field"),
    RateLimitedError: Kind(429, "rate_limited"),
    InvalidOutputError: Kind(500, "invalid_model_output"),
    ModelRunError: Kind(500, "model_run_failed"),
    NotSupportedError: Kind(501, "not_supported"),
    RunMemoryError: Kind(503, "out_of_memory"),
    MemoryError: Kind(503, "out_of_memory"),
    QueueFullError: Kind(503, "queue_full"),
    ModelUnavailableError: Kind(503, "model_unavailable"),
    NotReadyError: Kind(503, "not_ready"),
    UploadsFullError: Kind(503, "uploads_full"),
    DeadlineExceededError: Kind(504, "deadline_exceeded"),
}
INTERNAL_ERROR = Kind(500, "internal_error")
# Of requests that no route takes.
_ROUTING = {
    404: ("not_found", "This address does not exist; see /docs."),
    405: ("method_not_allowed", "This address does not allow this method; see /docs."),
}
_OUT_OF_MEMORY = (MemoryError, RunMemoryError)
# The names of RFC 9110; those of the standard library follow in Python 3.13.
_TITLES = {413: "Content Too Large", 422: "Unprocessable Content"}


def title_of(status: int) -> str:
    return _TITLES.get(status) or HTTPStatus(status).phrase


@dataclass(frozen=True, slots=True)
class Problem:
    """RFC 9457 problem details, with `code` for programs and `request_id` for the log."""

    status: int
    code: str
    detail: str
    headers: dict[str, str] = field(default_factory=dict)

    def details(self) -> dict[str, Any]:
        """The members without `request_id`, for one error among several."""
        return {
            "type": "about:blank",
            "title": title_of(self.status),
            "status": self.status,
            "detail": self.detail,
            "code": self.code,
        }

    def response(self, request_id: str, members: Mapping[str, object] | None = None) -> Response:
        """`members` extend or replace those of the problem details."""
        body = orjson.dumps({**self.details(), "request_id": request_id, **(members or {})})
        return Response(body, self.status, self.headers, MEDIA_TYPE)


def problem_of(error: Exception) -> Problem:
    """The problem that the client sees. An exception outside the table is our bug: 500, and its text is only logged."""
    if isinstance(error, HTTPException):
        code, detail = _ROUTING.get(error.status_code, ("http_error", error.detail))
        return Problem(error.status_code, code, detail, dict(error.headers or {}))
    kind = next((KINDS[cls] for cls in type(error).__mro__ if cls in KINDS), INTERNAL_ERROR)
    if kind is INTERNAL_ERROR:
        return Problem(kind.status, kind.code, "Internal error; the log has the traceback under this request_id.")
    return Problem(kind.status, kind.code, _detail(error), _headers(error))


# Returns what the clients of a dialect read in its errors, beside the problem details.
ErrorMembers = Callable[[Problem], Mapping[str, object]]


async def problem_response(dialects: Mapping[str, ErrorMembers], request: Request, error: Exception) -> Response:
    """The exception handler for every exception in the table. `dialects`: by the prefix of their addresses."""
    problem = problem_of(error)
    request.state.log.update(code=problem.code, detail=problem.detail)
    path = request.scope["path"].removeprefix(request.scope.get("root_path", "")) + "/"
    prefix = max((prefix for prefix in dialects if path.startswith(f"{prefix}/")), key=len, default=None)
    response = problem.response(request.state.request_id, dialects[prefix](problem) if prefix else None)
    if problem.status == 405:
        response.headers["Allow"] = ", ".join(_allowed_methods(request))
    clear_frames_of(error)
    return response


def clear_frames_of(error: BaseException) -> None:
    """Clears the local variables of the finished frames in the error's tracebacks.

    They may hold uploads in reference cycles, which only the garbage collector would free.
    """
    cause: BaseException | None = error
    while cause:
        clear_frames(cause.__traceback__)
        cause = cause.__context__


def validation_error(location: str, error: ValidationError) -> RequestValidationError:
    """FastAPI's exception for parameters in `location`: query or body."""
    problems = error.errors(include_url=False, include_context=False)
    return RequestValidationError([{**problem, "loc": (location, *problem["loc"])} for problem in problems])


def _detail(error: Exception) -> str:
    if isinstance(error, RequestValidationError):
        return "; ".join(_parameter_detail(problem) for problem in error.errors())
    if isinstance(error, _OUT_OF_MEMORY):
        return "Out of memory; try again later, or send a smaller picture."
    return str(error)


def _headers(error: Exception) -> dict[str, str]:
    if isinstance(error, UnauthenticatedError):
        return {"WWW-Authenticate": error.challenge}
    if isinstance(error, BodyTooSlowError):
        return {"Connection": "close"}
    retry_after_s = 1 if isinstance(error, _OUT_OF_MEMORY) else getattr(error, "retry_after_s", None)
    return {} if retry_after_s is None else {"Retry-After": str(retry_after_s)}


def _parameter_detail(problem: Mapping[str, Any]) -> str:
    name = ".".join(str(part) for part in problem["loc"][1:]) or str(problem["loc"][0])
    if problem["type"] == "extra_forbidden":
        return f"{name} is not a parameter of this address"
    if tuple(problem["loc"]) == ("body",):
        return f"The body must be a JSON object: {problem['msg']}"
    value = str(problem.get("input", ""))[:100]
    return f"{name}={value}: {problem['msg']}"


def _allowed_methods(request: Request) -> list[str]:
    """All methods of the address (RFC 9110); the framework knows those of the first matching route only."""
    routes: list[BaseRoute] = request.app.routes
    allowed = [m for m in _METHODS if any(r.matches({**request.scope, "method": m})[0] is Match.FULL for r in routes)]
    return sorted([*allowed, "HEAD"] if "GET" in allowed else allowed)
