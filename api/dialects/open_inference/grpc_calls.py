"""Around every gRPC call: its key, log line, metrics, span, and the status of its error, as HTTP's middleware does."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import nullcontext
from functools import partial
from time import perf_counter
from typing import Any, TypeVar
from urllib.parse import unquote

import grpc
from google.protobuf.message import DecodeError
from starlette.requests import Request

from api.dialects.dialect import DialectContext
from api.middleware.request_context import request_id
from api.problems import INTERNAL_ERROR, BodyTooSlowError, InvalidRequestError, Problem, clear_frames_of, problem_of
from api.security.guards import Guard
from api.telemetry.request_log import RequestLog
from api.telemetry.traces import describe_call, server_span

T = TypeVar("T")
# grpc and the generated classes have no annotations.
Context = Any
Details = Any
Message = Any
Handler = Any

SERVICE = "inference.GRPCInferenceService"

_CODES = {
    200: grpc.StatusCode.OK,
    401: grpc.StatusCode.UNAUTHENTICATED,
    403: grpc.StatusCode.PERMISSION_DENIED,
    404: grpc.StatusCode.NOT_FOUND,
    408: grpc.StatusCode.DEADLINE_EXCEEDED,
    409: grpc.StatusCode.FAILED_PRECONDITION,
    429: grpc.StatusCode.RESOURCE_EXHAUSTED,
    499: grpc.StatusCode.CANCELLED,
    500: grpc.StatusCode.INTERNAL,
    501: grpc.StatusCode.UNIMPLEMENTED,
    503: grpc.StatusCode.UNAVAILABLE,
    504: grpc.StatusCode.DEADLINE_EXCEEDED,
}


class Calls(grpc.aio.ServerInterceptor):  # type: ignore[misc]  # has no annotations
    """Checks the key of each call from its metadata, before its message is read.

    A method with one message is therefore served as one with a stream of messages, which looks the same to clients.
    Its handler gets the message, and the call as guards, rate limits and the log know a request. A handler of streams
    gets messages as bytes. `guards`: of the methods that do not need a user's key. After `stopping` is set, streams end
    with their current message.
    """

    def __init__(self, context: DialectContext, guards: Mapping[str, Guard | None], stopping: asyncio.Event) -> None:
        self._context, self._guards, self._stopping = context, guards, stopping
        self._log = RequestLog()

    async def intercept_service(
        self, continuation: Callable[[Details], Awaitable[Handler]], details: Details
    ) -> Handler:
        handler = await continuation(details)
        service, _, method = details.method.lstrip("/").partition("/")
        if handler is None or service != SERVICE:
            return handler
        formats = {"response_serializer": handler.response_serializer}  # and requests as bytes
        if handler.unary_unary:
            return grpc.stream_unary_rpc_method_handler(partial(self._answer, method, handler), **formats)
        return grpc.stream_stream_rpc_method_handler(partial(self._stream, handler.stream_stream), **formats)

    async def _answer(self, method: str, handler: Handler, messages: AsyncIterator[bytes], context: Context) -> Message:
        async def work(call: Request) -> Message:
            message = parse_message(handler.request_deserializer, await self._read(messages))
            return await handler.unary_unary(message, call)

        outcome = await self.outcome(context, method, work)
        if isinstance(outcome, Problem):
            await _abort(context, outcome)
        return outcome

    async def _stream(
        self,
        handle: Callable[[AsyncIterator[bytes], Context], AsyncIterator[Message]],
        messages: AsyncIterator[bytes],
        context: Context,
    ) -> AsyncIterator[Message]:
        """The rate limit and the log count each message as a call. A wrong key ends the stream."""
        call = _request(context)
        try:
            if not await self._context.guards.has_key(call):
                await self._context.guards.user(call)
        except Exception as error:  # noqa: BLE001 - as in `outcome`
            await _abort(context, problem_of(error))
        async for answer in handle(self._until_stopping(messages), context):
            yield answer

    async def outcome(self, context: Context, method: str, work: Callable[[Request], Awaitable[T]]) -> T | Problem:
        call = _request(context)
        path, started = f"/{SERVICE}/{method}", perf_counter()
        fields: dict[str, Any] = call.scope["state"]["log"]
        problem: Problem | None = None
        failure: Exception | None = None
        status = 499  # the call was cancelled
        guard, tracer = self._guards.get(method, self._context.guards.user), self._context.tracer
        with server_span(tracer, call.scope) if tracer else nullcontext() as span:
            try:
                if guard:
                    await guard(call)
                result = await work(call)
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
                self._context.metrics.request(path, "POST", status, seconds, [problem.code] if problem else [])
                if span:
                    describe_call(span, call.scope, SERVICE, method, _code(status).value[0])
                fields |= {"status": status, "path": path, "ms": round(seconds * 1e3, 3)}
                fields |= {"client": call.scope["client"][0], "request_id": call.scope["state"]["request_id"]}
                self._log.write(fields, failure)
                failure = None  # its traceback holds this frame

    async def _read(self, messages: AsyncIterator[bytes]) -> bytes:
        """The only message. Raises BodyTooSlowError, InvalidRequestError."""
        limit_s = self._context.settings.body_timeout_s
        try:
            async with asyncio.timeout(limit_s):
                async for message in messages:
                    return message
        except TimeoutError:
            raise BodyTooSlowError(limit_s) from None
        raise InvalidRequestError("the call ended before its message")

    async def _until_stopping(self, messages: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        stopping = asyncio.ensure_future(self._stopping.wait())
        try:
            while True:
                message = asyncio.ensure_future(anext(messages, None))
                try:
                    await asyncio.wait((message, stopping), return_when=asyncio.FIRST_COMPLETED)
                finally:  # also if the client cancels the call
                    message.cancel()
                if not message.done() or (data := message.result()) is None:
                    return
                yield data
        finally:
            stopping.cancel()


def parse_message(parse: Callable[[bytes], Message], data: bytes) -> Message:
    """Raises InvalidRequestError."""
    try:
        return parse(data)
    except DecodeError:
        raise InvalidRequestError("the message is not of the type of this method, or is damaged") from None


async def _abort(context: Context, problem: Problem) -> None:
    """Ends the call with the code and the message of the problem: raises grpc.aio.AbortError, or CancelledError."""
    retry = [("retry-after", value) for name, value in problem.headers.items() if name == "Retry-After"]
    try:
        await context.abort(_code(problem.status), problem.detail, (("code", problem.code), *retry))
    except grpc.aio.InternalError:  # the client has left
        raise asyncio.CancelledError from None


def _code(status: int) -> grpc.StatusCode:
    return _CODES.get(status, grpc.StatusCode.INVALID_ARGUMENT)


def _request(context: Context) -> Request:
    """Metadata are its headers; it has no body."""
    headers = [(name.encode(), str(value).encode()) for name, value in context.invocation_metadata() or ()]
    host = unquote(context.peer()).partition(":")[2].rpartition(":")[0].strip("[]")
    scope = {"type": "http", "method": "POST", "headers": headers, "client": (host, 0)}
    return Request({**scope, "state": {"request_id": request_id(scope), "log": {}, "failed": []}})
