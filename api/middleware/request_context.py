"""Around every request: its id, its log line, its metrics, and a response even if our code fails."""

import logging
import re
from collections.abc import Callable, Iterable
from random import getrandbits
from time import perf_counter
from typing import Any

from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.headers import header
from api.middleware.security_headers import security_headers
from api.problems import clear_frames_of, problem_of
from api.telemetry.metrics import Metrics
from api.telemetry.request_log import RequestLog

_CLIENT_CLOSED_REQUEST = 499  # as nginx logs it; never sent
_VALID_ID = re.compile(r"[A-Za-z0-9._-]{1,128}")
_CLOSE = (b"connection", b"close")

_log = logging.getLogger("fovea")


class RequestContext:
    """Pure ASGI middleware. `draining`: whether the server stops soon, so that responses close their connections.

    HEAD is answered as GET, without the body.

    Sets in `request.state`: `request_id`; `log`, to which routes add fields of the log line; `failed`, to which a batch
    adds the problem codes of its pictures.
    """

    def __init__(self, app: ASGIApp, metrics: Metrics, draining: Callable[[], bool] = lambda: False) -> None:
        self._app, self._metrics, self._draining = app, metrics, draining
        self._log = RequestLog()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        method = scope["method"]
        if method == "HEAD":
            scope = {**scope, "method": "GET"}
        request = _Request(scope, method, send, self._draining)
        failure: Exception | None = None
        try:
            await self._app(scope, receive, request.send)
            if request.status is not None and not request.complete:
                _log.error("response incomplete request_id=%s path=%s", request.id, scope["path"])
        except ClientDisconnect as error:
            request.status = _CLIENT_CLOSED_REQUEST
            clear_frames_of(error)
        except Exception as error:
            failure = error
            if request.status is not None:
                raise  # a part of the response was sent: the server must close the connection
            problem = problem_of(error)
            request.fields |= {"code": problem.code, "detail": problem.detail}
            await problem.response(request.id)(scope, receive, request.send)
        finally:
            self._report(scope, request, failure)
            failure = None  # its traceback holds this frame

    def _report(self, scope: Scope, request: "_Request", failure: Exception | None) -> None:
        seconds = perf_counter() - request.started
        status = request.status or _CLIENT_CLOSED_REQUEST
        codes = [*scope["state"]["failed"], *filter(None, [request.fields.get("code")])]
        route, client = scope.get("route"), scope.get("client")
        self._metrics.request(route.path if route else None, request.method, status, seconds, codes)
        fields = {
            "status": status,
            "path": scope["path"],
            "method": request.method,
            "ms": round(seconds * 1e3, 3),
            **request.fields,
            "client": client[0] if client else None,
            "request_id": request.id,
        }
        self._log.write(fields, failure)


class _Request:
    def __init__(self, scope: Scope, method: str, send: Send, draining: Callable[[], bool]) -> None:
        self.started = perf_counter()
        self.method = method
        self.id = request_id(scope)
        self.fields: dict[str, Any] = {}
        if size := _content_length(scope["headers"]):
            self.fields["request_bytes"] = size
        self.status: int | None = None
        self.complete = False
        self._scope, self._send, self._draining = scope, send, draining
        scope.setdefault("state", {}).update(request_id=self.id, log=self.fields, failed=[])

    async def send(self, message: Message) -> None:
        """Raises ClientDisconnect if the server says that the client has left."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
            message = {**message, "headers": self._extended(message.get("headers", []))}
        else:
            self.complete = not message.get("more_body", False)
            if self.method == "HEAD":
                message = {**message, "body": b""}
        try:
            await self._send(message)
        except OSError as error:
            raise ClientDisconnect from error

    def _extended(self, headers: list[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
        if size := _content_length(headers):
            self.fields["response_bytes"] = size
        added = security_headers(self._scope, headers)
        close = (_CLOSE,) if self._draining() and _CLOSE not in headers else ()
        return [*headers, *added, *close, (b"x-request-id", self.id.encode())]


def _content_length(headers: Iterable[tuple[bytes, bytes]]) -> int:
    """0 for a message without a body, or with one of unknown length."""
    return next((int(value) for key, value in headers if key == b"content-length" and value.isdigit()), 0)


def request_id(scope: Scope) -> str:
    """The client's own id if it is a valid one, otherwise a new one."""
    given = header(scope, b"x-request-id")
    return given if given and _VALID_ID.fullmatch(given) else f"{getrandbits(128):032x}"
