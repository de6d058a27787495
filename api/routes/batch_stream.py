"""A batch's streamed response: NDJSON, one result a line, in the order of completion."""

import asyncio
from collections.abc import Awaitable, Callable

import orjson
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from api.problems import RequestError, problem_of
from api.routes.batch_run import Results

NDJSON = "application/x-ndjson"
_HEADERS = ((b"content-type", NDJSON.encode()), (b"x-accel-buffering", b"no"))  # nginx would buffer the lines


class Lines(Results):
    """Lines to send, as many as a batch has pictures; None marks the end."""

    def __init__(self, request_id: str) -> None:
        self.begun = False
        self.queue: asyncio.Queue[bytes | None] = asyncio.Queue()
        self._request_id = request_id

    def add(self, index: int, result: bytes) -> None:  # noqa: ARG002 - the result holds it
        self.begun = True
        self.queue.put_nowait(result + b"\n")

    def fail(self, error: RequestError) -> None:
        details = problem_of(error).details() | {"request_id": self._request_id}
        self.queue.put_nowait(orjson.dumps({"error": details}) + b"\n")


class StreamedBatch(Response):
    """Starts with the first result, also while the upload is in progress; `run` adds the results.

    Reading the upload never waits for the client to read results: a client that reads only after it has sent all
    would deadlock.
    """

    def __init__(self, request: Request, run: Callable[[Results], Awaitable[None]]) -> None:
        super().__init__()
        self._run = run
        self._lines = Lines(request.state.request_id)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002 - ASGI's signature
        tasks = [asyncio.create_task(self._add_lines()), asyncio.create_task(self._send_lines(send))]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
            for task in done:
                await task
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _add_lines(self) -> None:
        await self._run(self._lines)
        self._lines.queue.put_nowait(None)

    async def _send_lines(self, send: Send) -> None:
        line = await self._lines.queue.get()
        await send({"type": "http.response.start", "status": 200, "headers": _HEADERS})
        while line is not None:
            await send({"type": "http.response.body", "body": line, "more_body": True})
            line = await self._lines.queue.get()
        await send({"type": "http.response.body", "body": b""})
