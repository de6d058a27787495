"""POST /infer/batch: many pictures in one form; a result or an error for each, in order or as they complete."""

from functools import partial
from typing import Annotated, Any

from fastapi import APIRouter, Query
from starlette.requests import Request
from starlette.responses import Response

from api.openapi import PICTURES_BODY, WITH_KEY, error_responses
from api.problems import NoPictureError
from api.responses import json_response
from api.routes.batch_run import Add, BatchRun, Predict
from api.routes.batch_stream import NDJSON, StreamedBatch
from api.routes.context import InferenceContext
from api.routes.deadline import WITH_DEADLINE, requested_wait
from api.routes.infer import INFER_ERRORS, ParsedQuery, describe_answers, log_models, parse_query
from api.schemas import BatchQuery, BatchResponse, BatchResult
from api.uploads.body import BodyLimits, RequestBody
from api.uploads.multipart import ENVELOPE_BYTES
from api.uploads.pictures import Part, PictureForm, form_reader, is_json, json_limits
from engine.inference_engine import InferenceEngine, Wait
from utils.time_utils import StageTimer


def batch_router(context: InferenceContext) -> APIRouter:
    router, settings = APIRouter(tags=["inference"]), context.settings
    most_bytes = settings.max_batch_images * (settings.max_upload_bytes + ENVELOPE_BYTES)
    form_body = BodyLimits(most_bytes, most_bytes, settings.body_timeout_s)
    json_body = json_limits(context.upload_limits, settings.max_batch_images)

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

        A JSON body has them as `{"images": ["<base64 or data URI>", ...]}`.
        Pictures are processed while the rest uploads. A picture that fails has an `error` instead of predictions; the
        others are not affected. With `stream=true`, each result is one line of NDJSON, sent when it is ready and
        identified by `index`. If the request itself fails after the first line, the last line has only `error`.
        """
        parsed = parse_query(query)
        running = context.engine()
        wait = requested_wait(request, skip_queue_limit=True)
        await running.load(parsed.choices, wait)  # before the upload: a load must not hold the slots of other batches
        log_models(request, [load.result().ref for load in running.request(parsed.choices) if load.done()])
        predict = partial(_predict, running, parsed, wait)
        run = partial(_run, request, predict)
        if query.stream:
            return StreamedBatch(request, partial(run, streams=True))
        results: dict[int, bytes] = {}
        await run(results.__setitem__)
        in_order = b",".join([results[index] for index in sorted(results)])
        return json_response(
            request, b'{"results":[%s],"request_id":"%s"}' % (in_order, request.state.request_id.encode())
        )

    async def _run(request: Request, predict: Predict, add: Add, *, streams: bool = False) -> None:
        """Raises RequestError, ClientDisconnect."""
        limits = json_body if is_json(request) else form_body
        body = RequestBody(request, limits, context.memory)
        form = PictureForm(("images",), settings.max_upload_bytes, settings.max_batch_images)
        reader = form_reader(request, form)
        if reader is None:
            raise NoPictureError(
                "Send the pictures in the field 'images': of a form (multipart/form-data), or of a JSON object."
            )
        batch = BatchRun(request, predict, context.slots, add, streams=streams)
        try:
            await batch.run(body, reader, form)
        finally:
            request.state.log.update(images=batch.done, failed=batch.failed)

    return router


async def _predict(engine: InferenceEngine, query: ParsedQuery, wait: Wait, part: Part) -> dict[str, Any]:
    """Raises RequestError, and what the engine raises."""
    answers = await engine.predict(part.picture(), query.choices, query.options, StageTimer(), wait)
    return describe_answers(part.filename, answers)


_RESULT = {"$ref": f"#/components/schemas/{BatchResult.__name__}"}
