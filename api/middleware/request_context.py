"""Around every request: its id, its line in the log, and an answer even when something of ours breaks."""

import os
import re
from time import perf_counter
from typing import Any

from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.middleware.security_headers import SecurityHeaders
from api.problems import problem_of
from api.telemetry.metrics import Metrics
from api.telemetry.request_log import RequestLog

_WELL_FORMED_ID = re.compile(rb"[A-Za-z0-9._-]{1,128}")
_CLIENT_CLOSED_REQUEST = 499  # nginx's word for it; it is logged, never sent


class RequestContext:
    """Pure ASGI. Adds `headers` and the request's id to every answer.

    Sets in `request.state`: `request_id`; `log`, where routes may put facts for the log; `failed`, where a batch puts
    the problem codes of its pictures.
    """

    def __init__(self, app: ASGIApp, headers: SecurityHeaders | None = None, metrics: Metrics | None = None) -> None:
        self._app = app
        self._headers = headers or SecurityHeaders(https=False)
        self._metrics = metrics
        self._log = RequestLog()

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
        failure: Exception | None = None

        async def send_with_id(message: Message) -> None:
            nonlocal status, whole
            whole = message["type"] == "http.response.body" and not message.get("more_body", False)
            if message["type"] == "http.response.start":
                status = message["status"]
                given = message["headers"]
                added = self._headers.of(scope["method"], given)
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
            failure = error
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
                route = scope.get("route")
                path = route.path if route is not None else "/infer" if scope["path"] == "/infer" else None
                self._metrics.request(path, scope["method"], status or _CLIENT_CLOSED_REQUEST, seconds, codes)
            client = scope.get("client")
            fields = {
                "status": status or _CLIENT_CLOSED_REQUEST,
                "path": scope["path"],
                "method": scope["method"],
                "ms": round(seconds * 1e3, 3),
                **facts,
                "client": client[0] if client else None,
                "request_id": request_id,
            }
            self._log.write(fields, failure)
            failure = None  # its traceback refers to this frame


def _request_id(scope: Scope) -> str:
    for name, value in scope["headers"]:
        if name == b"x-request-id" and _WELL_FORMED_ID.fullmatch(value):
            return str(value.decode("ascii"))
    return os.urandom(16).hex()
