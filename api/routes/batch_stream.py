"""A batch's streamed response: NDJSON, one result a line, in the order of completion."""

import asyncio
from collections.abc import Awaitable, Callable

import orjson
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from api.problems import RequestError, problem_of
from api.routes.batch_run import Add

NDJSON = "application/x-ndjson"
_HEADERS = ((b"content-type", NDJSON.encode()), (b"x-accel-buffering", b"no"))  # nginx would buffer the lines


class StreamedBatch(Response):
    """Starts with the first result, also while the upload is in progress; `run` adds the results.

    Reading the upload never waits for the client to read results: a client that reads only after it has sent all
    would deadlock. So lines are queued, as many as a batch has pictures; None marks the end.
    """

    def __init__(self, request: Request, run: Callable[[Add], Awaitable[None]]) -> None:
        super().__init__()
        self._run, self._state = run, request.state
        self._lines: asyncio.Queue[bytes | None] = asyncio.Queue()
        self._begun = False

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
        try:
            await self._run(self._add)
        except RequestError as error:
            if not self._begun:
                raise
            problem = problem_of(error)
            self._state.log.update(code=problem.code)
            self._add(-1, orjson.dumps({"error": problem.details() | {"request_id": self._state.request_id}}))
        self._lines.put_nowait(None)

    def _add(self, _: int, result: bytes) -> None:
        self._begun = True
        self._lines.put_nowait(result + b"\n")

    async def _send_lines(self, send: Send) -> None:
        line = await self._lines.get()
        await send({"type": "http.response.start", "status": 200, "headers": _HEADERS})
        while line is not None:
            await send({"type": "http.response.body", "body": line, "more_body": True})
            line = await self._lines.get()
        await send({"type": "http.response.body", "body": b""})
