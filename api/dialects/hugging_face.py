"""Hugging Face's inference API, for `huggingface_hub.InferenceClient(model="http://host/hf/NAME")`.

A picture is the raw body, or base64 in `{"inputs": ..., "parameters": {...}}`. Answers have the fields of the
pipelines of transformers: whole pixels in boxes, masks as PNG in base64.
"""

from typing import Any

from fastapi import APIRouter, Depends
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.requests import Request
from starlette.responses import Response

from api.dialects.dialect import DialectContext, answer_response
from api.problems import NotReadyError, ParameterError, validation_error
from api.uploads.base64_pictures import decode_picture
from api.uploads.pictures import is_json, read_picture
from engine.inference_engine import ModelChoice
from engine.models.load_attempt import loaded
from engine.tasks.predictions import (
    Classification,
    DepthMap,
    Detection,
    Embedding,
    GeneratedText,
    Prediction,
    Segment,
)
from engine.tasks.task import MAX_TOP_K, PredictOptions


class Parameters(BaseModel):
    """Of the parameters that the client knows, those that the service has."""

    model_config = ConfigDict(extra="forbid")

    top_k: int | None = Field(None, ge=1, le=MAX_TOP_K)
    threshold: float | None = Field(None, ge=0, le=1, allow_inf_nan=False)
    normalize: bool | None = None


def hf_router(context: DialectContext) -> APIRouter:
    router = APIRouter(prefix="/hf", dependencies=[Depends(context.guards.user)], include_in_schema=False)
    context.error_members[router.prefix] = lambda problem: {"error": problem.detail}

    @router.post("/{model}")
    async def infer(request: Request, model: str) -> Response:
        choice = ModelChoice(model)
        async with context.admitted(request, choice):
            picture, options = await _read(request)
            answers = await context.predict(request, [picture], choice, options)
        shown = [_shown(prediction) for prediction in answers[0].predictions]
        # A depth map is one object; the predictions of other tasks are lists.
        single = isinstance(answers[0].predictions[0], DepthMap) if shown else False
        return answer_response(shown[0] if single else shown, answers)

    @router.get("/{model}/health")
    async def health(model: str) -> Response:
        """200 if the model is loaded. Starts to load it, as a request would."""
        [load] = context.engine().request([ModelChoice(model)])
        if not load.done():
            raise NotReadyError(f"The model {model} is loading.")
        await loaded(load)
        return Response()

    async def _read(request: Request) -> tuple[bytes, PredictOptions]:
        """Raises RequestError, RequestValidationError, ClientDisconnect."""
        if not is_json(request):
            return (await read_picture(request, context.upload_limits))[1], PredictOptions()
        async with context.json_object(request, pictures=1) as body:
            picture = await body.read(
                lambda members: decode_picture(members.get("inputs"), "inputs", context.settings.max_upload_bytes)
            )
            return picture, _options(body.members.get("parameters") or {})

    return router


def _options(given: object) -> PredictOptions:
    """Raises ParameterError, RequestValidationError."""
    if not isinstance(given, dict):
        raise ParameterError("parameters must be an object")
    try:
        parsed = Parameters.model_validate({name: value for name, value in given.items() if value is not None})
    except ValidationError as error:
        raise validation_error("parameters", error) from None
    return PredictOptions(parsed.top_k, parsed.threshold, parsed.normalize)


def _shown(prediction: Prediction) -> object:
    match prediction:
        case Classification(label, _, score):
            return {"label": label, "score": score}
        case Detection(label, _, score, box):
            corners: dict[str, Any] = {name: int(getattr(box, name)) for name in ("xmin", "ymin", "xmax", "ymax")}
            return {"label": label, "score": score, "box": corners}
        case Segment(label, _, score, mask):
            return {"label": label, "score": score, "mask": mask}
        case GeneratedText(text):
            return {"generated_text": text}
        case Embedding(vector):
            return vector
        case _:
            return prediction
