"""Errors of the HTTP side, and the one table that turns every exception into RFC 9457 problem details.

RequestError
├── BodyTooLargeError         413
├── BodyTooSlowError          408
├── MalformedMultipartError   400
├── MalformedRequestError     400
├── HeadersTooSlowError       408
├── HeadersTooLargeError      431
├── DigestError               422
├── NoPictureError            400
├── TooManyPicturesError      413
├── ParameterError            422
├── AdminClosedError          403
├── UnknownFieldError         422
├── ContentEncodingError      415
├── UnauthenticatedError      401
├── WrongKeyError             403
├── RateLimitedError          429
├── NotReadyError             503
└── UploadsFullError          503
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

import orjson
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from api.json_answer import JsonAnswer
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
_PHRASES = {status.value: status.phrase for status in HTTPStatus}


class RequestError(Exception):
    """The request is at fault, or comes at a bad time; the message names the problem and the remedy."""


class BodyTooLargeError(RequestError):
    def __init__(self, max_bytes: int) -> None:
        super().__init__(f"What was sent is larger than {max_bytes:,} bytes, the most that is accepted.")


class BodyTooSlowError(RequestError):
    def __init__(self, timeout_s: float) -> None:
        super().__init__(f"The request's body, or its next part, did not arrive within {timeout_s:g} s.")


class MalformedMultipartError(RequestError):
    """The multipart body does not follow RFC 7578."""


class MalformedRequestError(RequestError):
    """It is no HTTP/1.1, or its framing is ambiguous."""


class HeadersTooSlowError(RequestError):
    def __init__(self, timeout_s: float) -> None:
        super().__init__(f"The request's headers did not arrive within {timeout_s:g} s.")


class HeadersTooLargeError(RequestError):
    def __init__(self, max_bytes: int) -> None:
        super().__init__(f"The request's address and headers, or its trailers, are larger than {max_bytes:,} bytes.")


class NoPictureError(RequestError):
    """The body is fine, but there is no (single) picture in it."""


class TooManyPicturesError(RequestError):
    def __init__(self, limit: int) -> None:
        super().__init__(f"The form has more than {limit} pictures; send the others in a second request.")


class UnknownFieldError(RequestError):
    """`remedy` tells where things go."""

    def __init__(self, name: str, remedy: str) -> None:
        super().__init__(f"The form has a field {name!r}. {remedy}")


class ContentEncodingError(RequestError):
    def __init__(self, encoding: str) -> None:
        super().__init__(f"Content-Encoding {encoding!r} is not supported; send the body as it is.")


class UnauthenticatedError(RequestError):
    """`challenge`: how the client may say its key, by RFC 9110."""

    def __init__(self, challenge: str = "Bearer") -> None:
        self.challenge = challenge
        super().__init__("A key is needed: send it as 'Authorization: Bearer <key>' or 'X-API-Key: <key>'.")


class WrongKeyError(RequestError):
    def __init__(self) -> None:
        super().__init__("This key is not valid here.")


class RateLimitedError(RequestError):
    def __init__(self, limit: str, retry_after_s: int) -> None:
        self.retry_after_s = retry_after_s
        super().__init__(f"More than {limit}; try again in {retry_after_s} s.")


class NotReadyError(RequestError):
    """The service cannot infer now; `reason` says which part."""

    def __init__(self, reason: str) -> None:
        self.retry_after_s = 1
        super().__init__(reason)


class UploadsFullError(RequestError):
    """So many bytes of pictures are arriving that one more has no room."""

    def __init__(self) -> None:
        self.retry_after_s = 1
        super().__init__("Too many pictures are arriving at once; try again in a second.")


class ParameterError(RequestError):
    """Parameters that are fine one by one do not go together."""


class AdminClosedError(RequestError):
    def __init__(self) -> None:
        super().__init__("Changing models is switched off; the operator opens it by setting API_ADMIN_KEYS.")


class DigestError(RequestError):
    def __init__(self, told: str, found: str) -> None:
        super().__init__(f"The sha256 of what arrived is {found}, not {told}; send it again.")


@dataclass(frozen=True, slots=True)
class Kind:
    """One row of the README's table of errors."""

    status: int
    code: str


KINDS: dict[type[Exception], Kind] = {
    EmptyImageError: Kind(400, "empty_image"),
    TruncatedImageError: Kind(400, "truncated_image"),
    CorruptImageError: Kind(400, "undecodable_image"),
    NoPictureError: Kind(400, "no_picture"),
    MalformedMultipartError: Kind(400, "malformed_multipart"),
    MalformedRequestError: Kind(400, "malformed_request"),
    UnauthenticatedError: Kind(401, "no_key"),
    WrongKeyError: Kind(403, "wrong_key"),
    UnknownModelError: Kind(404, "unknown_model"),
    BodyTooSlowError: Kind(408, "body_too_slow"),
    HeadersTooSlowError: Kind(408, "headers_too_slow"),
    AdminClosedError: Kind(403, "admin_closed"),
    ModelConflictError: Kind(409, "conflict"),
    ModelStateError: Kind(409, "models_not_writable"),
    InvalidModelError: Kind(422, "invalid_model"),
    DigestError: Kind(422, "wrong_digest"),
    ParameterError: Kind(422, "invalid_parameter"),
    BodyTooLargeError: Kind(413, "too_many_bytes"),
    TooManyPicturesError: Kind(413, "too_many_pictures"),
    ImageTooLargeError: Kind(413, "too_many_pixels"),
    UnsupportedFormatError: Kind(415, "unsupported_format"),
    ContentEncodingError: Kind(415, "unsupported_content_encoding"),
    RequestValidationError: Kind(422, "invalid_parameter"),
    UnknownFieldError: Kind(422, "unknown_field"),
    RateLimitedError: Kind(429, "rate_limited"),
    HeadersTooLargeError: Kind(431, "headers_too_large"),
    InvalidOutputError: Kind(500, "invalid_model_output"),
    ModelRunError: Kind(500, "model_run_failed"),
    RunMemoryError: Kind(503, "out_of_memory"),
    MemoryError: Kind(503, "out_of_memory"),
    QueueFullError: Kind(503, "queue_full"),
    ModelUnavailableError: Kind(503, "model_unavailable"),
    NotReadyError: Kind(503, "not_ready"),
    UploadsFullError: Kind(503, "uploads_full"),
    DeadlineExceededError: Kind(504, "deadline_exceeded"),
}
INTERNAL_ERROR = Kind(500, "internal_error")
_OUT_OF_MEMORY = (MemoryError, RunMemoryError)


@dataclass(frozen=True, slots=True)
class Problem:
    """RFC 9457 problem details, with `code` for programs and `request_id` for the log."""

    status: int
    code: str
    detail: str
    headers: dict[str, str] = field(default_factory=dict)

    def details(self) -> dict[str, Any]:
        """Without `request_id`, for one of several in an answer."""
        return {
            "type": "about:blank",
            "title": _PHRASES[self.status],
            "status": self.status,
            "detail": self.detail,
            "code": self.code,
        }

    def response(self, request_id: str) -> JsonAnswer:
        body = orjson.dumps(self.details() | {"request_id": request_id})
        headers = [(name.lower().encode(), value.encode()) for name, value in self.headers.items()]
        return JsonAnswer(body, *headers, status=self.status, kind=MEDIA_TYPE.encode())


def problem_of(error: Exception) -> Problem:
    """What the sender is told. Anything not in the table is our bug: 500, and its text stays in the log."""
    if isinstance(error, HTTPException):
        return _routing_problem(error)
    kind = next((KINDS[cls] for cls in type(error).__mro__ if cls in KINDS), INTERNAL_ERROR)
    if kind is INTERNAL_ERROR:
        return Problem(kind.status, kind.code, "Something failed here; the log knows it by this request_id.")
    return Problem(kind.status, kind.code, _detail(error), _headers(error))


def _detail(error: Exception) -> str:
    if isinstance(error, RequestValidationError):
        return _parameter_detail(error)
    if isinstance(error, _OUT_OF_MEMORY):
        return "There is not enough memory for this now; try again later, or send a smaller picture."
    return str(error)


def _headers(error: Exception) -> dict[str, str]:
    if isinstance(error, UnauthenticatedError):
        return {"WWW-Authenticate": error.challenge}
    if isinstance(error, BodyTooSlowError):
        return {"Connection": "close"}  # what is still missing is not waited for once more
    retry_after_s = 1 if isinstance(error, _OUT_OF_MEMORY) else getattr(error, "retry_after_s", None)
    return {} if retry_after_s is None else {"Retry-After": str(retry_after_s)}


def _routing_problem(error: HTTPException) -> Problem:
    """No such route, or not with this method: the framework's own words for the code."""
    phrase = _PHRASES[error.status_code]
    detail = {
        404: "There is nothing at this address; /docs lists what there is.",
        405: "This address does not take this method; /docs lists which it takes.",
    }.get(error.status_code, error.detail)
    return Problem(error.status_code, phrase.lower().replace(" ", "_"), detail, dict(error.headers or {}))


def _parameter_detail(error: RequestValidationError) -> str:
    return "; ".join(_one_parameter(problem) for problem in error.errors())


def _one_parameter(problem: Mapping[str, Any]) -> str:
    name = ".".join(str(part) for part in problem["loc"][1:]) or str(problem["loc"][0])
    if problem["type"] == "extra_forbidden":
        return f"{name} is not a parameter of this address"
    if tuple(problem["loc"]) == ("body",):
        return f"The body must be a JSON object: {problem['msg']}"
    value = str(problem.get("input", ""))[:100]
    return f"{name}={value}: {problem['msg']}"
