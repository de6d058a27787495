"""What every dialect shares: limits, admission, deadline, cancellation and log are those of /infer."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

import orjson
from opentelemetry.trace import Tracer
from starlette.requests import Request
from starlette.responses import Response

from api.health import Health
from api.problems import ErrorMembers
from api.routes.context import InferenceContext
from api.routes.deadline import requested_wait
from api.routes.infer import log_inference
from api.telemetry.metrics import Metrics
from api.uploads.base64_pictures import off_loop, parse_object
from api.uploads.body import RequestBody
from api.uploads.disconnect import CancelOnDisconnect
from api.uploads.pictures import json_limits
from engine.inference_engine import ModelChoice, Wait
from engine.pipeline import Answer
from engine.tasks.task import PredictOptions
from loaders.images.errors import ImageError
from utils.time_utils import StageTimer, server_timing

S = TypeVar("S")
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class JsonBody:
    """A JSON object of `size` bytes."""

    members: dict[str, Any]
    size: int

    async def read(self, read: Callable[[dict[str, Any]], T]) -> T:
        """Applies `read`, which decodes pictures, in a thread if the body is large."""
        return await off_loop(self.size, partial(read, self.members))


@dataclass(frozen=True)
class DialectContext(InferenceContext):
    """As that of /infer, and what some dialects report. `error_members`: each dialect adds its own by its prefix."""

    health: Health
    metrics: Metrics
    error_members: dict[str, ErrorMembers]
    tracer: Tracer | None = None

    @asynccontextmanager
    async def json_object(self, request: Request, pictures: int) -> AsyncIterator[JsonBody]:
        """A JSON body with so many pictures at most. Its memory counts until the block ends. Raises RequestError."""
        body = RequestBody(request, json_limits(self.upload_limits, pictures), self.memory)
        try:
            data = await body.read()
            size = len(data)
            parsed = await off_loop(size, partial(parse_object, data))
            del data
            yield JsonBody(parsed, size)
        finally:
            body.release()

    async def predict(
        self, request: Request, pictures: Sequence[bytes], choice: ModelChoice, options: PredictOptions
    ) -> list[Answer]:
        """The answers for the pictures of one request, in their order. Stops their timers and logs them.

        Raises what the engine raises; ClientDisconnect.
        """
        wait = requested_wait(request)
        async with CancelOnDisconnect(request.receive):
            answers = await self.predict_each(pictures, choice, options, wait.timeout_s)
        for answer in answers:
            answer.timer.stop()
        if len(answers) == 1:
            log_inference(request, [answers[0].model], answers[0].timer.as_ms())
        else:
            log_inference(request, [answer.model for answer in answers[:1]], {})
            request.state.log["images"] = len(answers)
        return answers

    async def predict_each(
        self, pictures: Sequence[bytes], choice: ModelChoice, options: PredictOptions, timeout_s: float
    ) -> list[Answer]:
        """Without HTTP. The deadline is each picture's own. The first error cancels the other pictures.

        One picture counts in the queue like one for /infer; several share the slots of batches.
        """
        engine = self.engine()

        async def answer(data: bytes, wait: Wait) -> Answer:
            return (await engine.predict(data, [choice], options, StageTimer(), wait))[0]

        return await self.answer_each(pictures, answer, choice, timeout_s)

    async def answer_each(
        self,
        items: Sequence[S],
        answer: Callable[[S, Wait], Coroutine[Any, Any, T]],
        choice: ModelChoice,
        timeout_s: float,
    ) -> list[T]:
        """As `predict_each`, with `answer` for each picture or tensor."""
        if len(items) == 1:
            return [await answer(items[0], Wait(timeout_s))]
        await self.engine().load([choice], Wait(timeout_s))  # a load must not hold the slots of other requests

        async def answer_in_slot(index: int, item: S) -> T:
            async with self.slots:
                try:
                    return await answer(item, Wait(timeout_s, skip_queue_limit=True))
                except ImageError as error:
                    error.args = (f"Picture {index}, counted from 0: {error}",)
                    raise

        return await all_or_first_error([answer_in_slot(index, item) for index, item in enumerate(items)])


def answer_response(body: object, answers: Sequence[Answer]) -> Response:
    """`body` as JSON, with the stages of a single picture in the header Server-Timing."""
    headers = {"Server-Timing": server_timing(answers[0].timer.as_ms())} if len(answers) == 1 else None
    return Response(orjson.dumps(body), headers=headers, media_type="application/json")


async def all_or_first_error(work: Sequence[Coroutine[Any, Any, T]]) -> list[T]:
    """Runs all at the same time. The first error cancels the others and is raised."""
    tasks = [asyncio.ensure_future(one) for one in work]
    try:
        return await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
