"""Many pictures of one request at work: read, decoded and run at the same time, within bounds.

| state | what happens |
|---|---|
| a picture is complete, a place is free | it starts |
| no place is free | the body is not read on, so its client waits (TCP); who waits longest gets the next place |
| a picture fails | its own result says so, the others go on |
| the body fails (malformed, too slow, too many), no result given away yet | all ends, the request fails |
| the body fails after that | what is complete ends and is told, then the failure |
| the client goes away | all ends |

All batches of a process share the places: together they keep so many pictures in memory and at the lanes, and one that
is not complete each. Single requests find the lanes' queue as good as empty.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Protocol

import orjson
from starlette.requests import ClientDisconnect, Request

from api.problems import INTERNAL_ERROR, RequestError, problem_of
from api.uploads.batch_form import BatchForm, Part
from api.uploads.body import Body

# And whether it is the last.
Chunk = tuple[bytes | RequestError, bool]
Work = Callable[[Part], Awaitable[dict[str, object]]]

_log = logging.getLogger("fovea")


class Results(Protocol):
    """Takes results as JSON, in the order of their completion; `begun` from when they cannot be taken back."""

    begun: bool

    def add(self, index: int, result: bytes) -> None: ...

    def fail(self, error: RequestError) -> None:
        """The last word, after all results."""


class Batch:
    """One request's pictures. `work` gives what one's result has beyond index and filename, or raises."""

    def __init__(self, request: Request, work: Work, places: asyncio.Semaphore, results: Results) -> None:
        self._request, self._work, self._places, self._results = request, work, places, results
        self._listening: asyncio.Task[None] | None = None
        self.done = self.failed = 0

    async def run(self, body: Body, form: BatchForm) -> None:
        """Returns when the last result is there. Raises RequestError, ClientDisconnect; then nothing of it runs on."""
        try:
            async with asyncio.TaskGroup() as tasks:
                items: list[asyncio.Task[None]] = []
                error = await self._read(body, form, tasks, items)
                if items:
                    await asyncio.wait(items)
                if self._listening:
                    self._listening.cancel()
        except BaseExceptionGroup as group:  # a picture's own task does not raise: it is one error, or one told twice
            raise group.exceptions[0] from None
        if error:
            self._request.state.log.update(code=problem_of(error).code)
            self._results.fail(error)

    async def _read(
        self, body: Body, form: BatchForm, tasks: asyncio.TaskGroup, items: list[asyncio.Task[None]]
    ) -> RequestError | None:
        """Starts each picture that is complete. An error that comes too late to be the answer is given back.

        The client is listened to all the time, also while a picture waits for its place: one that leaves ends all.
        """

        async def start(parts: list[Part]) -> None:
            for part in parts:
                await self._places.acquire()
                items.append(tasks.create_task(self._answer(part)))
                items[-1].add_done_callback(lambda _: self._places.release())  # also of one that never came to begin

        coming: asyncio.Task[Chunk] | None = tasks.create_task(_next(body))
        try:
            while coming:
                chunk, last = await coming
                coming = None if last else tasks.create_task(_next(body))
                if last:
                    self._listening = tasks.create_task(self._watch())
                if isinstance(chunk, RequestError):
                    raise chunk
                await start(form.feed(chunk))
            form.finish()
        except RequestError as error:
            if not self._results.begun:
                raise
            if coming:
                coming.cancel()
                self._listening = tasks.create_task(self._watch())
            await start(form.rest())
            return error
        return None

    async def _answer(self, part: Part) -> None:
        try:
            result = await self._work(part)
        except Exception as error:  # noqa: BLE001 - whatever it is, it is this picture's alone
            result = {"error": self._problem(error)}
            self.failed += 1
        self.done += 1
        self._results.add(part.index, orjson.dumps({"index": part.index, "filename": part.filename, **result}))

    def _problem(self, error: Exception) -> dict[str, object]:
        problem = problem_of(error)
        self._request.state.failed.append(problem.code)
        if problem.code == INTERNAL_ERROR.code:
            _log.error("request %s failed", self._request.state.request_id, exc_info=error)
        return problem.details()

    async def _watch(self) -> None:
        """Nothing more comes from the client but its leaving."""
        while (await self._request.receive())["type"] != "http.disconnect":
            pass
        raise ClientDisconnect


async def _next(body: Body) -> Chunk:
    """An error is given back, not raised: only a client that leaves shall end all tasks at once."""
    try:
        chunk = await body.next()
    except RequestError as error:
        return error, True
    return chunk, body.ended
