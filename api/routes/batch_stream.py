"""A batch's answer while it is made: NDJSON, one picture's result a line, in the order of their completion."""

import asyncio
from collections.abc import Awaitable, Callable

import orjson
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import Message, Receive, Scope, Send

from api.problems import RequestError, problem_of
from api.routes.batch_run import Results

NDJSON = "application/x-ndjson"
_HEAD = ((b"content-type", NDJSON.encode()), (b"x-accel-buffering", b"no"))  # nginx would gather the lines


class Lines(Results):
    """Lines that wait to be sent, no more than the pictures a batch may have; None is the end."""

    def __init__(self, request_id: str) -> None:
        self.begun = False
        self.waiting: asyncio.Queue[bytes | None] = asyncio.Queue()
        self._request_id = request_id

    def add(self, index: int, result: bytes) -> None:  # noqa: ARG002 - it is in the result
        self.begun = True
        self.waiting.put_nowait(result + b"\n")

    def fail(self, error: RequestError) -> None:
        details = problem_of(error).details() | {"request_id": self._request_id}
        self.waiting.put_nowait(orjson.dumps({"error": details}) + b"\n")


class StreamedBatch(Response):
    """Starts with the first result, also while the client still sends; `run` gives the results to the lines.

    Reading the upload never waits for a client to read its results: one that reads only after it has sent all would
    wait for ever, and we for it. What it leaves unread is at most what the answer in one piece holds.
    A client that takes nothing for `stall_s` is given up.
    """

    def __init__(self, request: Request, run: Callable[[Results], Awaitable[None]], stall_s: float) -> None:
        super().__init__()
        self._run, self._stall_s = run, stall_s
        self._lines = Lines(request.state.request_id)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002 - ASGI's signature
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._send_lines(send))
                await self._run(self._lines)
                self._lines.waiting.put_nowait(None)
        except BaseExceptionGroup as group:  # what ended one of the two has ended the other
            raise group.exceptions[0] from None

    async def _send_lines(self, send: Send) -> None:
        line = await self._lines.waiting.get()
        await self._send_in_time(send, {"type": "http.response.start", "status": 200, "headers": _HEAD})
        while line is not None:
            await self._send_in_time(send, {"type": "http.response.body", "body": line, "more_body": True})
            line = await self._lines.waiting.get()
        await self._send_in_time(send, {"type": "http.response.body", "body": b""})

    async def _send_in_time(self, send: Send, message: Message) -> None:
        try:
            async with asyncio.timeout(self._stall_s):
                await send(message)
        except TimeoutError:
            raise ClientDisconnect from None
