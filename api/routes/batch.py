"""POST /infer/batch: many pictures in one form; a result or an error for each, in order or as they are ready."""

import asyncio
from functools import cache, partial
from typing import Annotated, Any

from fastapi import APIRouter, Query
from starlette.requests import Request
from starlette.responses import Response

from api.json_answer import JsonAnswer
from api.openapi import PICTURES_BODY, WITH_KEY, error_responses
from api.problems import BodyTooLargeError, NoPictureError, RequestError
from api.routes.batch_run import Batch, Results, Work
from api.routes.batch_stream import NDJSON, StreamedBatch
from api.routes.deadline import WITH_DEADLINE, requested_wait
from api.routes.infer import INFER_ERRORS, GetEngine, Question, ask, describe_answers
from api.schemas import BatchQuery, BatchResponse, BatchResult
from api.settings import ApiSettings
from api.uploads.batch_form import FIELD, BatchForm, Part
from api.uploads.body import Body, refuse_encoded
from api.uploads.image_form import ENVELOPE_BYTES, multipart_boundary
from engine.inference_engine import InferenceEngine, Wait
from utils.time_utils import StageTimer

# While as many are at work as there are lanes, as many again are read and ready.
_PLACES_A_LANE = 2


def batch_router(settings: ApiSettings, engine: GetEngine) -> APIRouter:
    """`engine` gives the running engine, or raises NotReadyError."""
    router = APIRouter(tags=["inference"])
    places = cache(lambda: asyncio.Semaphore(_PLACES_A_LANE * engine().scheduler.max_concurrency))

    @router.post(
        "/infer/batch",
        summary="Run models on several pictures",
        response_model=BatchResponse,
        responses=error_responses(*INFER_ERRORS)
        | {200: {"content": {NDJSON: {"schema": _RESULT}}, "description": "The results."}},
        openapi_extra=PICTURES_BODY | WITH_KEY | WITH_DEADLINE,
    )
    async def infer_batch(request: Request, query: Annotated[BatchQuery, Query()]) -> Response:
        """Returns one result for each picture, sent as a form field `images`, in the order of the request.

        Pictures are processed while the rest uploads. A picture that fails has an `error` instead of predictions; the
        others are not affected. With `stream=true`, each result is one line of NDJSON, sent when it is ready and
        identified by `index`. If the request itself fails after the first line, the last line has only `error`.
        """
        question = ask(query)
        running = engine()
        running.request(question.choices)  # an unknown model is told, one not loaded loads, before the upload
        answer = partial(_answer, running, question, settings.max_upload_bytes, requested_wait(request, patient=True))
        run = partial(_run, request, settings, places(), answer)
        if query.stream:
            return StreamedBatch(request, run, settings.send_timeout_s)
        results = _Collected()
        await run(results)
        return JsonAnswer(results.as_json(request.state.request_id))

    return router


class _Collected(Results):
    """Kept until the last is there; already JSON, so that an answer's parts are not held twice."""

    def __init__(self) -> None:
        self.begun = False
        self._results: dict[int, bytes] = {}

    def add(self, index: int, result: bytes) -> None:
        self._results[index] = result

    def fail(self, error: RequestError) -> None:
        raise error

    def as_json(self, request_id: str) -> bytes:
        """A request id has no character that JSON would escape."""
        in_order = b",".join(self._results[index] for index in sorted(self._results))
        return b'{"results":[%s],"request_id":"%s"}' % (in_order, request_id.encode())


async def _run(
    request: Request, settings: ApiSettings, places: asyncio.Semaphore, work: Work, results: Results
) -> None:
    """Raises RequestError, ClientDisconnect."""
    refuse_encoded(request)
    boundary = multipart_boundary(request)
    if boundary is None:
        raise NoPictureError(f"A batch is a form (multipart/form-data) with the pictures in the field '{FIELD}'.")
    most, largest = settings.max_batch_images, settings.max_upload_bytes
    in_all = most * (largest + ENVELOPE_BYTES)
    body = Body(request, in_all, in_all, settings.body_timeout_s)
    batch = Batch(request, work, places, results)
    try:
        await batch.run(body, BatchForm(boundary, largest, most))
    finally:
        request.state.log.update(images=batch.done, failed=batch.failed)


async def _answer(
    engine: InferenceEngine, question: Question, max_bytes: int, wait: Wait, part: Part
) -> dict[str, Any]:
    """Raises BodyTooLargeError, and what the engine raises."""
    if part.data is None:
        raise BodyTooLargeError(max_bytes)
    answers = await engine.predict(part.data, question.choices, question.options, StageTimer(), wait)
    for answer in answers:
        answer.timer.stop()
    return describe_answers(part.filename, answers)


_RESULT = {"$ref": f"#/components/schemas/{BatchResult.__name__}"}
