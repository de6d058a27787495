"""POST /explain: a heat map of what one prediction about one picture rests on."""

import base64
from typing import Annotated, Any

import orjson
from fastapi import APIRouter, Query
from starlette.requests import Request
from starlette.responses import Response

from api.accept import accepted_type
from api.explain_schemas import ExplainQuery, ExplainResponse
from api.openapi import PICTURE_AND_REFERENCE_BODY, WITH_KEY, error_responses, picture_responses
from api.problems import ParameterError
from api.responses import json_response
from api.routes.context import InferenceContext
from api.routes.deadline import WITH_DEADLINE, requested_wait
from api.routes.infer import INFER_ERRORS, log_inference
from api.uploads.disconnect import CancelOnDisconnect
from api.uploads.pictures import read_pictures
from engine.drawing import MEDIA_TYPES
from engine.explain.explainer import ExplainRequest, Explanation
from engine.explain.target import TargetQuery
from engine.inference_engine import ModelChoice
from engine.pipeline import describe_image
from engine.tasks.predictions import Box
from utils.time_utils import StageTimer, server_timing

_JSON = "application/json"


def explain_router(context: InferenceContext) -> APIRouter:
    router = APIRouter(tags=["inference"])

    @router.post(
        "/explain",
        summary="Show what a prediction rests on",
        response_model=ExplainResponse,
        responses=error_responses(*INFER_ERRORS, 406) | picture_responses(MEDIA_TYPES),
        openapi_extra=PICTURE_AND_REFERENCE_BODY | WITH_KEY | WITH_DEADLINE,
    )
    async def explain(request: Request, query: Annotated[ExplainQuery, Query()]) -> Response:
        """Returns a heat map of one prediction, from many runs on the picture with parts of it blurred.

        `Accept: image/png`, `image/jpeg` or `image/webp` returns the picture with the map over it. The runs let other
        requests go first. At the deadline, the answer is what the runs so far have shown, with `complete` false.
        """
        wait, target = requested_wait(request), _target_query(query)
        media_type = accepted_type(request.scope, (_JSON, *MEDIA_TYPES))
        choice = ModelChoice(query.model or None, query.version)
        async with context.admitted(request, choice) as engine:
            pictures = await read_pictures(request, context.upload_limits, ("image", "reference"))
            filename, image = pictures["image"]
            reference = pictures["reference"][1] if "reference" in pictures else None
            overlay = None if media_type == _JSON else media_type
            explain_request = ExplainRequest(image, reference, target, query.method, query.samples, query.seed, overlay)
            async with CancelOnDisconnect(request.receive):
                explanation = await engine.explain(explain_request, choice, StageTimer(), wait)
        return _respond(request, filename, explanation, media_type)

    return router


def _target_query(query: ExplainQuery) -> TargetQuery:
    """Raises ParameterError."""
    if query.label is not None and query.class_id is not None:
        raise ParameterError("label and class_id both name a class; give one of them")
    return TargetQuery(query.label, query.class_id, Box(*map(float, query.box.split(","))) if query.box else None)


def _respond(request: Request, filename: str | None, explanation: Explanation, media_type: str) -> Response:
    timings = explanation.timer.as_ms()
    log_inference(request, [explanation.model], timings, explanation.image)
    state = request.scope["state"]
    runs = {"explain_method": explanation.method, "passes": explanation.passes, "complete": explanation.complete}
    state["log"] |= runs
    headers = {"Server-Timing": server_timing(timings)}
    if media_type != _JSON:
        return Response(explanation.drawn, headers=headers, media_type=media_type)
    body = {
        "model": explanation.model,
        "image": describe_image(filename, explanation.image),
        "explanation": _described(explanation),
        "timings_ms": timings,
        "request_id": state["request_id"],
    }
    return json_response(request, orjson.dumps(body), headers=headers)


def _described(explanation: Explanation) -> dict[str, Any]:
    target, heat_map = explanation.target, explanation.heat_map
    shown = {"label": target.label, "class_id": target.class_id, "score": target.score}
    x, y = heat_map.peak
    return {
        "target": shown | {"box": target.box} if target.box else shown,
        "method": explanation.method,
        "fill": "blur",
        "passes": explanation.passes,
        "seed": explanation.seed,
        "complete": explanation.complete,
        "heatmap": base64.b64encode(explanation.drawn).decode("ascii"),
        "minimum": heat_map.minimum,
        "maximum": heat_map.maximum,
        "peak": {"x": x, "y": y},
    }
