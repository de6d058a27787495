"""The pictures of one batch request: received, decoded and run at the same time, within limits.

| event | effect |
|---|---|
| a picture is complete, a slot is free | its inference starts |
| no slot is free | the body is not read further, so TCP slows the client down |
| a picture fails | its own result is an error; the other pictures are unaffected |
| the body fails (malformed, too slow, too large), no result was sent yet | the request fails |
| the body fails after a result was sent | the complete pictures are answered, then the error is the last result |
| the client disconnects | all inference of the request is cancelled |

All batches of a process share the slots, so their memory is limited together and single requests find a short queue.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Protocol

import orjson
from starlette.requests import Request

from api.problems import INTERNAL_ERROR, RequestError, problem_of
from api.uploads.batch_form import BatchForm, Part
from api.uploads.body import RequestBody
from api.uploads.disconnect import cancel_on_disconnect
from api.uploads.multipart import MultipartReader

Predict = Callable[[Part], Awaitable[dict[str, object]]]

_log = logging.getLogger("fovea")


class Results(Protocol):
    """Takes results as JSON in the order of their completion. `begun`: the first result was sent to the client."""

    begun: bool

    def add(self, index: int, result: bytes) -> None: ...

    def fail(self, error: RequestError) -> None:
        """Called once, after all results. May raise the error."""


class BatchRun:
    """`predict` returns a picture's result without index and filename, or raises."""

    def __init__(self, request: Request, predict: Predict, slots: asyncio.Semaphore, results: Results) -> None:
        self._request, self._predict, self._slots, self._results = request, predict, slots, results
        self._tasks: set[asyncio.Task[None]] = set()
        self.done = self.failed = 0

    async def run(self, body: RequestBody, reader: MultipartReader, form: BatchForm) -> None:
        """Returns after the last result. Raises RequestError, ClientDisconnect; then all inference has ended."""
        try:
            error = await self._receive(body, reader, form)
            if error is None or body.ended:
                async with cancel_on_disconnect(self._request.receive):
                    await self._finish()
            else:
                await self._finish()
            if error:
                self._request.state.log.update(code=problem_of(error).code)
                self._results.fail(error)
        finally:
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)
            body.release()

    async def _receive(self, body: RequestBody, reader: MultipartReader, form: BatchForm) -> RequestError | None:
        """Starts each complete picture. Returns an error that comes too late to be the response."""
        failure: RequestError | None = None
        try:
            while not body.ended:
                reader.feed(await body.next())
                await self._start(form.take_complete(), body)
            reader.finish()
            form.check_any()
        except RequestError as error:
            if not self._results.begun:
                raise
            failure = error.with_traceback(None)  # the traceback holds this frame and the form
        await self._start(form.take_complete(), body)
        return failure

    async def _start(self, parts: list[Part], body: RequestBody) -> None:
        for part in parts:
            await self._slots.acquire()
            task = asyncio.create_task(self._answer(part, body))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
            task.add_done_callback(lambda _: self._slots.release())

    async def _finish(self) -> None:
        if self._tasks:
            await asyncio.wait(self._tasks)

    async def _answer(self, part: Part, body: RequestBody) -> None:
        try:
            result = await self._predict(part)
        except Exception as error:  # noqa: BLE001 - any exception is the result of this picture alone
            result = {"error": self._problem(error)}
            self.failed += 1
        body.release(len(part.data or b""))
        self.done += 1
        self._results.add(part.index, orjson.dumps({"index": part.index, "filename": part.filename, **result}))

    def _problem(self, error: Exception) -> dict[str, object]:
        problem = problem_of(error)
        self._request.state.failed.append(problem.code)
        if problem.code == INTERNAL_ERROR.code:
            _log.error("picture failed request_id=%s", self._request.state.request_id, exc_info=error)
        return problem.details()
