"""Around every gRPC call: its key, its log line, its metrics, and the status of its error."""

from collections.abc import Awaitable, Callable
from time import perf_counter
from typing import Any, TypeVar
from urllib.parse import unquote
from uuid import uuid4

import grpc
from starlette.requests import Request

from api.dialects.dialect import DialectContext
from api.problems import INTERNAL_ERROR, Problem, clear_frames_of, problem_of
from api.security.guards import Guard
from api.telemetry.request_log import RequestLog

T = TypeVar("T")
Context = Any  # grpc has no annotations

_CODES = {
    401: grpc.StatusCode.UNAUTHENTICATED,
    403: grpc.StatusCode.PERMISSION_DENIED,
    404: grpc.StatusCode.NOT_FOUND,
    409: grpc.StatusCode.FAILED_PRECONDITION,
    429: grpc.StatusCode.RESOURCE_EXHAUSTED,
    500: grpc.StatusCode.INTERNAL,
    501: grpc.StatusCode.UNIMPLEMENTED,
    503: grpc.StatusCode.UNAVAILABLE,
    504: grpc.StatusCode.DEADLINE_EXCEEDED,
}


class Calls:
    """`run` does the work of one call as HTTP's middleware does. Its status is logged and counted as that of HTTP."""

    def __init__(self, context: DialectContext) -> None:
        self._context = context
        self._log = RequestLog()

    async def run(
        self,
        context: Context,
        method: str,
        guard: Guard | None,
        work: Callable[[Request], Awaitable[T]],
    ) -> T:
        """Ends the call with an error's code and message. `work` takes the call as a request without a body."""
        problem = await self.outcome(context, method, guard, work)
        if not isinstance(problem, Problem):
            return problem
        retry = [("retry-after", value) for name, value in problem.headers.items() if name == "Retry-After"]
        code = _CODES.get(problem.status, grpc.StatusCode.INVALID_ARGUMENT)
        await context.abort(code, problem.detail, (("code", problem.code), *retry))
        raise AssertionError  # abort raises

    async def outcome(
        self,
        context: Context,
        method: str,
        guard: Guard | None,
        work: Callable[[Request], Awaitable[T]],
    ) -> T | Problem:
        request = _request(context)
        started = perf_counter()
        fields: dict[str, Any] = request.scope["state"]["log"]
        problem: Problem | None = None
        failure: Exception | None = None
        status = 499  # the call was cancelled
        try:
            if guard:
                await guard(request)
            result = await work(request)
            status = 200
            return result
        except Exception as error:  # noqa: BLE001 - any exception is the problem of this call alone
            problem = problem_of(error)
            status = problem.status
            failure = error if problem.code == INTERNAL_ERROR.code else None
            fields |= {"code": problem.code, "detail": problem.detail}
            clear_frames_of(error)
            return problem
        finally:
            seconds = perf_counter() - started
            path = f"/inference.GRPCInferenceService/{method}"
            self._context.metrics.request(path, "POST", status, seconds, [problem.code] if problem else [])
            fields |= {"status": status, "path": path, "ms": round(seconds * 1e3, 3)}
            fields |= {"client": request.scope["client"][0], "request_id": request.scope["state"]["request_id"]}
            self._log.write(fields, failure)


def _request(context: Context) -> Request:
    """The call as guards, rate limits and the log know a request: metadata are its headers."""
    headers = [(name.encode(), str(value).encode()) for name, value in context.invocation_metadata() or ()]
    host = unquote(context.peer()).partition(":")[2].rpartition(":")[0].strip("[]")
    state = {"request_id": uuid4().hex, "log": {}, "failed": []}
    return Request({"type": "http", "method": "POST", "headers": headers, "client": (host, 0), "state": state})
