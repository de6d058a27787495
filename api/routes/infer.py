"""POST /infer: one picture; one answer, or one of each model that is asked."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Annotated, Any, get_origin

import orjson
from fastapi import APIRouter, Query
from pydantic import ValidationError
from starlette.datastructures import QueryParams
from starlette.requests import Request
from starlette.responses import Response

from api.front_door import Door
from api.json_answer import JsonAnswer
from api.openapi import PICTURE_BODY, WITH_KEY, error_responses
from api.problems import ParameterError
from api.routes.deadline import WITH_DEADLINE, asked_wait
from api.schemas import InferManyResponse, InferQuery, InferResponse
from api.security.guards import Guard
from api.security.rejection_delay import RejectionDelay
from api.settings import ApiSettings
from api.uploads.body import Room
from api.uploads.image_form import UploadLimits, read_upload
from engine.inference_engine import InferenceEngine, ModelChoice
from engine.pipeline import Answer
from engine.scheduling.scheduler import QueueFullError
from engine.tasks.task import PredictOptions
from utils.time_utils import STAGES, TOTAL, StageTimer, server_timing

INFER_ERRORS = (400, 401, 403, 404, 408, 413, 415, 422, 429, 500, 503, 504)
# Clients ask the same question over and over; a hostile one's long questions are not kept.
_KEPT_QUESTIONS = 256
_KEPT_BYTES = 512
_LISTS = {name for name, field in InferQuery.model_fields.items() if get_origin(field.annotation) is list}
_LOGGED_STAGES = {stage: f"{stage}_ms" for stage in (*STAGES, TOTAL)}

GetEngine = Callable[[], InferenceEngine]


@dataclass(frozen=True, slots=True)
class Question:
    """What the query asks: of which models, and how they shall answer."""

    choices: tuple[ModelChoice, ...]
    options: PredictOptions


class Infer:
    """Answers about one picture. `engine` gives the running engine, or raises NotReadyError."""

    def __init__(self, settings: ApiSettings, engine: GetEngine) -> None:
        room = Room(settings.max_arriving_mb * 2**20 // settings.worker_count)
        self._limits = UploadLimits(settings.max_upload_bytes, settings.body_timeout_s, room)
        self._engine = engine
        self._rejection_delay = RejectionDelay()

    async def __call__(self, request: Request, question: Question) -> Response:
        """Raises RequestError, ClientDisconnect, and what the engine raises."""
        try:
            return await self._answer(request, question)
        except QueueFullError as error:
            refusal = error.with_traceback(None)  # which holds the picture
        await self._rejection_delay.wait(request.scope.get("client"))
        try:
            raise refusal
        finally:
            del refusal  # its traceback holds this frame: the two would wait for the garbage collector

    async def _answer(self, request: Request, question: Question) -> Response:
        wait = asked_wait(request)
        running = self._engine()
        running.request(question.choices)  # an unknown model is told, one not loaded loads, before the upload
        running.check_queue(question.choices)  # so is a full queue: what is refused need not be read
        upload = await read_upload(request, self._limits)
        answers = await running.predict(upload.data, question.choices, question.options, StageTimer(), wait)
        for answer in answers:
            answer.timer.stop()
        return _respond(request, upload.filename, answers)


def infer_router(settings: ApiSettings, engine: GetEngine) -> APIRouter:
    """What FastAPI documents and validates; `infer_door` answers the same without it."""
    router = APIRouter(tags=["inference"])
    answer = Infer(settings, engine)

    @router.post(
        "/infer",
        summary="What is on this picture?",
        response_model=InferResponse | InferManyResponse,
        responses=error_responses(*INFER_ERRORS),
        openapi_extra=PICTURE_BODY | WITH_KEY | WITH_DEADLINE,
    )
    async def infer(request: Request, query: Annotated[InferQuery, Query()]) -> Response:
        """Send a picture as the form field `image`, or as the raw body; its format is found from its content.

        With `model` given several times, the picture is decoded once and each model answers in `results`.
        """
        return await answer(request, ask(query))

    return router


def infer_door(settings: ApiSettings, engine: GetEngine, guard: Guard) -> Door:
    """Takes every request whose query is valid."""
    answer = Infer(settings, engine)

    async def guarded(request: Request, question: Question) -> Response:
        await guard(request)
        return await answer(request, question)

    def door(request: Request) -> Awaitable[Response] | None:
        query: bytes = request.scope["query_string"]
        question = _kept_question(query) if len(query) <= _KEPT_BYTES else _question(query)
        return guarded(request, question) if question else None

    return door


def ask(query: InferQuery) -> Question:
    """Raises ParameterError. One version may go to one model, several to one model or one to each."""
    models: Sequence[str | None] = query.model or [None]
    versions: Sequence[str | None] = query.version or [None] * len(models)
    if len(models) == 1:
        models = list(models) * len(versions)
    if len(models) != len(versions):
        raise ParameterError(f"version is given {len(versions)} times for {len(models)} models; give one for each")
    choices = tuple(ModelChoice(name or None, version) for name, version in zip(models, versions, strict=True))
    return Question(choices, PredictOptions(query.top_k, query.threshold, query.normalize, query.encoding))


def _question(query_string: bytes) -> Question | None:
    """None where something is wrong with it: then FastAPI says what."""
    query = QueryParams(query_string)
    given = {name: query.getlist(name) if name in _LISTS else query[name] for name in query}
    try:
        return ask(InferQuery.model_validate(given))
    except (ValidationError, ParameterError):
        return None


_kept_question = lru_cache(_KEPT_QUESTIONS)(_question)


def describe_answers(filename: str | None, answers: Sequence[Answer]) -> dict[str, Any]:
    """What several models, or one, say about one picture; their timers are stopped."""
    results = [
        {"model": answer.model, "predictions": answer.predictions, "timings_ms": answer.timer.as_ms()}
        for answer in answers
    ]
    image = answers[0].image
    shown = {"filename": filename, "format": image.format, "width": image.width, "height": image.height}
    if len(results) > 1:
        return {"image": shown, "results": results}
    [result] = results
    return {"model": result["model"], "image": shown, **result}


def _respond(request: Request, filename: str | None, answers: Sequence[Answer]) -> Response:
    state = request.scope["state"]
    body = describe_answers(filename, answers)
    body["request_id"] = state["request_id"]
    last: dict[str, float] = (body["results"][-1] if "results" in body else body)["timings_ms"]
    facts = state["log"]
    facts["model"] = ",".join([answer.model.name for answer in answers])
    facts["version"] = ",".join([str(answer.model.version) for answer in answers])
    for stage, ms in last.items():
        facts[_LOGGED_STAGES[stage]] = ms
    return JsonAnswer(orjson.dumps(body), (b"server-timing", server_timing(last).encode("ascii")))
