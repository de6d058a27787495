"""POST /infer: one picture; one answer, or one of each model that is asked."""

from collections.abc import Callable, Sequence
from typing import Annotated, Any

import orjson
from fastapi import APIRouter, Query
from starlette.requests import Request
from starlette.responses import Response

from api.openapi import PICTURE_BODY, WITH_KEY, error_responses
from api.problems import ParameterError
from api.schemas import InferManyResponse, InferQuery, InferResponse
from api.settings import ApiSettings
from api.upload import Upload, UploadLimits, read_upload
from engine.inference_engine import InferenceEngine, ModelChoice
from engine.pipeline import Answer
from engine.tasks.task import PredictOptions
from utils.time_utils import StageTimer, server_timing

_ERRORS = (400, 401, 403, 404, 408, 413, 415, 422, 429, 500, 503, 504)


def infer_router(settings: ApiSettings, engine: Callable[[], InferenceEngine]) -> APIRouter:
    """`engine` gives the running engine, or raises NotReadyError."""
    router = APIRouter(tags=["inference"])
    limits = UploadLimits(settings.max_upload_bytes, settings.body_timeout_s)

    @router.post(
        "/infer",
        summary="What is on this picture?",
        response_model=InferResponse | InferManyResponse,
        responses=error_responses(*_ERRORS),
        openapi_extra=PICTURE_BODY | WITH_KEY,
    )
    async def infer(request: Request, query: Annotated[InferQuery, Query()]) -> Response:
        """Send a picture as the form field `image`, or as the raw body; its format is found from its content.

        With `model` given several times, the picture is decoded once and each model answers in `results`.
        """
        choices = _choices(query)
        running = engine()
        running.request(choices)  # an unknown model is told, and one not loaded begins to load, before the upload
        upload = await read_upload(request, limits)
        timer = StageTimer()
        options = PredictOptions(query.top_k, query.threshold, query.normalize, query.encoding)
        answers = await running.predict(upload.data, choices, options, timer)
        for answer in answers:
            answer.timer.stop()
        return _respond(request, upload, answers)

    return router


def _choices(query: InferQuery) -> list[ModelChoice]:
    """One version may go to one model, several to one model or one to each."""
    models: Sequence[str | None] = query.model or [None]
    versions: Sequence[str | None] = query.version or [None] * len(models)
    if len(models) == 1:
        models = list(models) * len(versions)
    if len(models) != len(versions):
        raise ParameterError(f"version is given {len(versions)} times for {len(models)} models; give one for each")
    return [ModelChoice(name or None, version) for name, version in zip(models, versions, strict=True)]


def _respond(request: Request, upload: Upload, answers: Sequence[Answer]) -> Response:
    timings = [answer.timer.as_ms() for answer in answers]
    results = [
        {"model": answer.model, "predictions": answer.predictions, "timings_ms": timings_ms}
        for answer, timings_ms in zip(answers, timings, strict=True)
    ]
    image = answers[0].image
    shown = {"filename": upload.filename, "format": image.format, "width": image.width, "height": image.height}
    request_id = request.state.request_id
    body: dict[str, Any]
    if len(results) == 1:
        [result] = results
        body = {"model": result["model"], "image": shown, **result, "request_id": request_id}
    else:
        body = {"image": shown, "results": results, "request_id": request_id}
    last = timings[-1]
    request.state.log.update(
        model=",".join(answer.model.name for answer in answers),
        version=",".join(str(answer.model.version) for answer in answers),
        **{f"{stage}_ms": ms for stage, ms in last.items()},
    )
    headers = {"Server-Timing": server_timing(last)}
    return Response(orjson.dumps(body), headers=headers, media_type="application/json")
