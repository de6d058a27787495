"""POST /infer: one picture; one answer, or one answer of each requested model."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Annotated, Any, get_origin

import orjson
from fastapi import APIRouter, Depends, Query
from fastapi.routing import APIRoute
from pydantic import ValidationError
from starlette.datastructures import QueryParams
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from api.accept import accepted_type
from api.openapi import PICTURE_BODY, WITH_KEY, error_responses, picture_responses
from api.problems import ParameterError, validation_error
from api.responses import json_response
from api.routes.context import InferenceContext
from api.routes.deadline import WITH_DEADLINE, requested_wait
from api.schemas import InferManyResponse, InferQuery, InferResponse
from api.security.guards import Guard
from api.uploads.disconnect import CancelOnDisconnect
from api.uploads.pictures import read_picture
from engine.drawing import MEDIA_TYPES
from engine.inference_engine import DrawRequest, ModelChoice
from engine.models.loaded_model import ModelRef
from engine.pipeline import Answer, describe_image
from engine.tasks.task import PredictOptions
from loaders.images.base import ImageInfo
from utils.time_utils import StageTimer, server_timing

INFER_ERRORS = (400, 401, 403, 404, 408, 413, 415, 422, 429, 500, 503, 504)
_JSON = "application/json"
_OFFERED = (_JSON, *MEDIA_TYPES)
_LISTS = {name for name, field in InferQuery.model_fields.items() if get_origin(field.annotation) is list}


@dataclass(frozen=True, slots=True)
class ParsedQuery:
    """The models that a query names, and the options of their answers."""

    choices: tuple[ModelChoice, ...]
    options: PredictOptions


def add_infer_route(router: APIRouter, context: InferenceContext) -> None:
    limits = context.upload_limits

    async def infer(request: Request, query: Annotated[ParsedQuery, Depends(parse_query)]) -> Response:
        """Returns the predictions for one picture, sent as the form field `image` or as the raw body.

        If `model` or `version` is repeated, the picture is decoded once, and `results` has the predictions of each.
        With `Accept: image/jpeg`, `image/webp` or `image/png`, the response is the picture with the predictions drawn
        on it, in its original size.
        """
        media_type = accepted_type(request.scope, _OFFERED)
        if media_type != _JSON and len(query.choices) > 1:
            raise ParameterError("A picture is drawn with the predictions of one model; name one, or accept JSON.")
        wait = requested_wait(request)
        async with context.admitted(request, *query.choices) as engine:
            filename, data = await read_picture(request, limits)
            async with CancelOnDisconnect(request.receive):
                if media_type == _JSON:
                    answers = await engine.predict(data, query.choices, query.options, StageTimer(), wait)
                else:
                    wanted = DrawRequest(data, query.choices[0], query.options, media_type)
                    answer, drawn = await engine.draw(wanted, StageTimer(), wait)
                    return _respond_drawn(request, answer, drawn, media_type)
        return _respond(request, filename, answers)

    router.add_api_route(
        "/infer",
        infer,
        methods=["POST"],
        tags=["inference"],
        summary="Run models on a picture",
        response_model=InferResponse | InferManyResponse,
        responses=error_responses(*INFER_ERRORS, 406) | picture_responses(MEDIA_TYPES),
        openapi_extra=PICTURE_BODY | WITH_KEY | WITH_DEADLINE,
        route_class_override=_route_class(context.guards.user),
    )


def _route_class(guard: Guard) -> type[APIRoute]:
    """A route that FastAPI documents. It checks the key before the query, without FastAPI's dependency injection."""

    class GuardedRoute(APIRoute):
        async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
            if scope["method"] != "POST":
                await super().handle(scope, receive, send)  # 405
                return
            request = Request(scope, receive, send)
            await guard(request)
            response: Response = await self.endpoint(request, _parsed(scope["query_string"]))
            await response(scope, receive, send)

    return GuardedRoute


@lru_cache(maxsize=32)
def _parsed(query_string: bytes) -> ParsedQuery:
    """Raises RequestValidationError, as FastAPI does, and ParameterError."""
    query = QueryParams(query_string)
    given = {name: query.getlist(name) if name in _LISTS else query[name] for name in query}
    try:
        return parse_query(InferQuery.model_validate(given))
    except ValidationError as error:
        raise validation_error("query", error) from None


def parse_query(query: Annotated[InferQuery, Query()]) -> ParsedQuery:
    """Pairs models with versions: one version for each model, or several versions of one model.

    Raises ParameterError.
    """
    models: Sequence[str | None] = query.model or [None]
    versions: Sequence[str | None] = query.version or [None] * len(models)
    if len(models) == 1:
        models = list(models) * len(versions)
    if len(models) != len(versions):
        raise ParameterError(f"version is given {len(versions)} times for {len(models)} models; give one for each")
    choices = tuple(ModelChoice(name or None, version) for name, version in zip(models, versions, strict=True))
    options = PredictOptions(
        query.top_k, query.threshold, query.normalize, query.encoding, predicted_depth=query.predicted_depth
    )
    return ParsedQuery(choices, options)


def describe_answers(filename: str | None, answers: Sequence[Answer]) -> dict[str, Any]:
    """The response for one picture: of one model, or `results` of several. Stops the timers."""
    results = [
        {"model": answer.model, "predictions": answer.predictions, "timings_ms": answer.timer.as_ms()}
        for answer in answers
    ]
    shown = describe_image(filename, answers[0].image)
    if len(results) > 1:
        return {"image": shown, "results": results}
    return {"model": answers[0].model, "image": shown, **results[0]}


def _respond(request: Request, filename: str | None, answers: Sequence[Answer]) -> Response:
    body = describe_answers(filename, answers)
    body["request_id"] = request.scope["state"]["request_id"]
    timings: dict[str, float] = (body["results"][-1] if "results" in body else body)["timings_ms"]
    log_inference(request, [answer.model for answer in answers], timings, answers[0].image)
    return json_response(request, orjson.dumps(body), headers={"Server-Timing": server_timing(timings)})


def _respond_drawn(request: Request, answer: Answer, drawn: bytes, media_type: str) -> Response:
    timings = answer.timer.as_ms()
    log_inference(request, [answer.model], timings, answer.image)
    return Response(drawn, headers={"Server-Timing": server_timing(timings)}, media_type=media_type)


def log_inference(
    request: Request, models: Sequence[ModelRef], timings_ms: Mapping[str, float], image: ImageInfo | None = None
) -> None:
    """Adds models, stages and the picture's size to the request's log line."""
    log_models(request, models)
    facts = request.scope["state"]["log"]
    facts |= {f"{stage}_ms": ms for stage, ms in timings_ms.items()}
    if image:
        facts |= {"width": image.width, "height": image.height}


def log_models(request: Request, models: Sequence[ModelRef]) -> None:
    """Adds the models that have answered to the request's log line."""
    facts = request.scope["state"]["log"]
    facts["model"] = ",".join([model.name for model in models])
    facts["version"] = ",".join([str(model.version) for model in models])
