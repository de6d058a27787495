"""The pictures of one batch request: received, decoded and run at the same time, within limits.

| event | effect |
|---|---|
| a picture is complete, a slot is free | its inference starts |
| no slot is free | the body is not read further, so TCP slows the client down |
| a picture fails | its own result is an error; the other pictures are unaffected |
| the body fails (malformed, too slow, too large), no result was sent yet | the request fails |
| the body fails after a result was sent | the complete pictures are answered, then the error is the last result |
| the client disconnects | all inference of the request is cancelled |

All batches of a process share the slots, so their memory is limited together. In the queue of a model, their pictures
take turns with other requests.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

import orjson
from starlette.requests import ClientDisconnect, Request

from api.problems import INTERNAL_ERROR, RequestError, clear_frames_of, problem_of
from api.uploads.body import RequestBody
from api.uploads.multipart import MultipartReader
from api.uploads.pictures import JsonReader, Part, PictureForm, finish

Predict = Callable[[Part], Awaitable[dict[str, object]]]
# Takes results as JSON in the order of their completion, with the index of the picture.
Add = Callable[[int, bytes], None]

_log = logging.getLogger("fovea")


class BatchRun:
    """`predict` returns a picture's result without index and filename, or raises.

    `streams`: a result is sent to the client as soon as it is added.
    """

    def __init__(
        self, request: Request, predict: Predict, slots: asyncio.Semaphore, add: Add, *, streams: bool = False
    ) -> None:
        self._request, self._predict, self._slots, self._add, self._streams = request, predict, slots, add, streams
        self._inferences: set[asyncio.Task[None]] = set()
        self._chunk: asyncio.Task[bytes] | None = None
        self.done = self.failed = 0

    async def run(self, body: RequestBody, reader: MultipartReader | JsonReader, form: PictureForm) -> None:
        """Returns after the last result. Raises RequestError, ClientDisconnect; then all inference has ended.

        A RequestError comes after all results if one was sent already.
        """
        try:
            async with asyncio.timeout(None) as scope:
                error = await self._receive(body, reader, form, scope)
                await self._finish()
            if error:
                raise error
        except TimeoutError:
            raise ClientDisconnect from None
        finally:
            await self._cancel()
            body.release()

    async def _cancel(self) -> None:
        chunk, self._chunk = self._chunk, None
        tasks = [*self._inferences, *filter(None, [chunk])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _receive(
        self, body: RequestBody, reader: MultipartReader | JsonReader, form: PictureForm, scope: asyncio.Timeout
    ) -> RequestError | None:
        """Starts each complete picture. Returns an error that comes too late to be the response.

        One chunk is read ahead, also while pictures wait for slots: a disconnect then expires `scope` at once.
        """
        failure: RequestError | None = None
        try:
            self._read_ahead(body.next(), scope)
            last = False
            while not last and self._chunk:
                chunk = await self._chunk
                last = body.ended
                self._read_ahead(self._disconnect() if last else body.next(), scope)
                reader.feed(chunk)
                body.release(form.take_dropped())
                await self._start(form.take_complete(), body)
            await finish(reader)
            form.check_any()
        except RequestError as error:
            if not (self._streams and self.done):
                raise
            failure = error
        await self._start(form.take_complete(), body)
        return failure

    def _read_ahead(self, message: Coroutine[Any, Any, bytes], scope: asyncio.Timeout) -> None:
        loop = asyncio.get_running_loop()

        def expire(chunk: asyncio.Task[bytes]) -> None:
            if not chunk.cancelled() and isinstance(chunk.exception(), ClientDisconnect) and self._chunk is chunk:
                scope.reschedule(loop.time())

        self._chunk = loop.create_task(message)
        self._chunk.add_done_callback(expire)

    async def _disconnect(self) -> bytes:
        """Waits for the client to leave after the whole body has arrived."""
        while (await self._request.receive())["type"] != "http.disconnect":
            pass
        raise ClientDisconnect

    async def _start(self, parts: list[Part], body: RequestBody) -> None:
        for part in parts:
            await self._slots.acquire()
            task = asyncio.create_task(self._answer(part, body))
            self._inferences.add(task)
            task.add_done_callback(self._inferences.discard)
            task.add_done_callback(lambda _: self._slots.release())

    async def _finish(self) -> None:
        if self._inferences:
            await asyncio.wait(self._inferences)

    async def _answer(self, part: Part, body: RequestBody) -> None:
        try:
            result = await self._predict(part)
        except asyncio.CancelledError as error:
            clear_frames_of(error)  # they refer to this task, which holds the error
            raise
        except Exception as error:  # noqa: BLE001 - any exception is the result of this picture alone
            result = {"error": self._problem(error)}
            error.__traceback__ = None  # its frames hold the part, which may hold the error
            self.failed += 1
        body.release(len(part.data) if isinstance(part.data, bytes) else 0)
        self.done += 1
        self._add(part.index, orjson.dumps({"index": part.index, "filename": part.filename, **result}))

    def _problem(self, error: Exception) -> dict[str, object]:
        problem = problem_of(error)
        self._request.state.failed.append(problem.code)
        if problem.code == INTERNAL_ERROR.code:
            _log.error("picture failed request_id=%s", self._request.state.request_id, exc_info=error)
        return problem.details()
