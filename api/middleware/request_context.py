"""Around every request: its id, its line in the log, and an answer even when something of ours breaks."""

import logging
import os
import re
from time import perf_counter
from typing import Any

from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.middleware.security_headers import security_headers
from api.problems import problem_of
from api.refusal_lines import RefusalLines
from api.telemetry.logs import log_request
from api.telemetry.metrics import Metrics

_WELL_FORMED_ID = re.compile(rb"[A-Za-z0-9._-]{1,128}")
_CLIENT_CLOSED_REQUEST = 499  # nginx's word for it; it is logged, never sent

_crash_log = logging.getLogger("fovea")


class RequestContext:
    """Pure ASGI. Adds the security headers and the request's id to every answer.

    Sets in `request.state`: `request_id`; `log`, where routes may put facts for the log; `failed`, where a batch puts
    the problem codes of its pictures.
    """

    def __init__(self, app: ASGIApp, metrics: Metrics | None = None) -> None:
        self._app = app
        self._metrics = metrics
        self._refusals = RefusalLines()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = perf_counter()
        request_id = _request_id(scope)
        facts: dict[str, Any] = {}
        state = scope.setdefault("state", {})
        state.update(request_id=request_id, log=facts, failed=[])
        status: int | None = None
        whole = False

        async def send_with_id(message: Message) -> None:
            nonlocal status, whole
            whole = message["type"] == "http.response.body" and not message.get("more_body", False)
            if message["type"] == "http.response.start":
                status = message["status"]
                given = message["headers"]
                added = security_headers(scope, given)
                message["headers"] = [*given, *added, (b"x-request-id", request_id.encode())]
            try:
                await send(message)
            except (RuntimeError, OSError) as error:  # the server has closed the connection: nobody is there to answer
                raise ClientDisconnect from error

        try:
            await self._app(scope, receive, send_with_id)
        except ClientDisconnect:
            status = _CLIENT_CLOSED_REQUEST
        except Exception as error:
            _crash_log.exception("request %s failed", request_id)
            if status is None:
                problem = problem_of(error)
                facts["code"] = problem.code
                await problem.response(request_id)(scope, receive, send_with_id)
            elif not whole:
                raise  # half an answer is out: the server must cut the connection
        finally:
            seconds = perf_counter() - started
            if self._metrics:
                codes = [*state["failed"], facts["code"]] if "code" in facts else state["failed"]
                self._metrics.request(scope, status or _CLIENT_CLOSED_REQUEST, seconds, codes)
            if self._refusals.has_own(facts.get("code")):
                _log_line(scope, request_id, status, seconds, facts)


def _request_id(scope: Scope) -> str:
    for name, value in scope["headers"]:
        if name == b"x-request-id" and _WELL_FORMED_ID.fullmatch(value):
            return str(value.decode("ascii"))
    return os.urandom(16).hex()


def _printable(text: str) -> str:
    """Terminals obey escape sequences; a log line must not carry any."""
    return text if text.isprintable() else "".join(c if c.isprintable() else f"\\x{ord(c):02x}" for c in text)


def _log_line(scope: Scope, request_id: str, status: int | None, seconds: float, facts: dict[str, Any]) -> None:
    client = scope.get("client")
    log_request(
        {
            "method": _printable(scope["method"]),
            "path": _printable(scope["path"]),
            "status": status,
            "ms": round(seconds * 1e3, 3),
            "client": client[0] if client else None,
            "request_id": request_id,
            **facts,
        }
    )
