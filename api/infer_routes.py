"""POST /infer: one picture, one answer."""

from collections.abc import Callable
from typing import Annotated, Any

import orjson
from fastapi import APIRouter, Query
from starlette.requests import Request
from starlette.responses import Response

from api.openapi import PICTURE_BODY, WITH_KEY, error_responses
from api.schemas import InferQuery, InferResponse
from api.settings import ApiSettings
from api.upload import Upload, UploadLimits, read_upload
from engine.inference_engine import InferenceEngine
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
        response_model=InferResponse,
        responses=error_responses(*_ERRORS),
        openapi_extra=PICTURE_BODY | WITH_KEY,
    )
    async def infer(request: Request, query: Annotated[InferQuery, Query()]) -> Response:
        """Send a picture as the form field `image`, or as the raw body; its format is found from its content."""
        running = engine()
        running.models.request(query.model, query.version)  # an unknown model is told before the upload
        upload = await read_upload(request, limits)
        timer = StageTimer()
        options = PredictOptions(query.top_k or settings.top_k, query.threshold)
        answer = await running.predict(upload.data, query.model, query.version, options, timer)
        timer.stop()
        return _respond(request, upload, answer, timer.as_ms())

    return router


def _respond(request: Request, upload: Upload, answer: Answer, timings_ms: dict[str, float]) -> Response:
    request.state.log.update(model=answer.model.name, version=answer.model.version, **_log_names(timings_ms))
    body: dict[str, Any] = {
        "model": answer.model,
        "image": {
            "filename": upload.filename,
            "format": answer.image.format,
            "width": answer.image.width,
            "height": answer.image.height,
        },
        "predictions": answer.predictions,
        "timings_ms": timings_ms,
        "request_id": request.state.request_id,
    }
    headers = {"Server-Timing": server_timing(timings_ms)}
    return Response(orjson.dumps(body), headers=headers, media_type="application/json")


def _log_names(timings_ms: dict[str, float]) -> dict[str, float]:
    return {f"{stage}_ms": ms for stage, ms in timings_ms.items()}
