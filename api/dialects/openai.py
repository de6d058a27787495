"""OpenAI's embeddings API with pictures as input: POST /v1/embeddings, GET /v1/models."""

from collections.abc import Sequence
from datetime import datetime
from functools import partial
from typing import Any

from fastapi import APIRouter, Depends
from starlette.requests import Request
from starlette.responses import Response

from api.dialects.dialect import DialectContext, answer_response
from api.problems import InvalidRequestError, Problem, TooManyPicturesError
from api.uploads.base64_pictures import decode_picture
from engine.inference_engine import ModelChoice
from engine.models.catalog_snapshot import ModelSnapshot
from engine.pipeline import Answer
from engine.tasks.predictions import Embedding
from engine.tasks.task import Encoding, PredictOptions

_ENCODINGS: dict[object, Encoding] = {None: "list", "float": "list", "base64": "base64"}
_FORMS = (
    'a data URI ("data:image/jpeg;base64,..."), {"image": "<base64>"}, '
    'or {"type": "image_url", "image_url": {"url": "data:..."}}'
)


def openai_router(context: DialectContext) -> APIRouter:
    router = APIRouter(prefix="/v1", dependencies=[Depends(context.guards.user)], include_in_schema=False)
    context.error_members[router.prefix] = _error
    most = context.settings.max_batch_images

    @router.post("/embeddings")
    async def embed(request: Request) -> Response:
        async with context.json_object(request, most) as body:
            name, encoding = body.members.get("model"), body.members.get("encoding_format")
            if not isinstance(name, str):
                raise InvalidRequestError("model must be the name of a model for image-feature-extraction.")
            if not (encoding is None or isinstance(encoding, str)) or encoding not in _ENCODINGS:
                raise InvalidRequestError("encoding_format must be float or base64.")
            choice, options = ModelChoice(name), PredictOptions(encoding=_ENCODINGS[encoding])
            async with context.admitted(request, choice):
                pictures = await body.read(partial(_pictures, max_bytes=context.settings.max_upload_bytes, most=most))
                answers = await context.predict(request, pictures, choice, options)
            embeddings = _embeddings(answers, body.members.get("dimensions"))
        return answer_response(
            {
                "object": "list",
                "data": embeddings,
                "model": name,
                "usage": {"prompt_tokens": 0, "total_tokens": 0},
            },
            answers,
        )

    @router.get("/models")
    async def list_models() -> dict[str, object]:
        return {"object": "list", "data": [_model(one) for one in context.engine().models.snapshot().models]}

    @router.get("/models/{name}")
    async def get_model(name: str) -> dict[str, object]:
        return _model(context.engine().models.report(name))

    return router


def _pictures(body: dict[str, Any], *, max_bytes: int, most: int) -> list[bytes]:
    """Takes `input` out of the body. Raises RequestError."""
    given = body.pop("input", None)
    items = given if isinstance(given, list) else [given]
    if not items:
        raise InvalidRequestError("input is empty.")
    if len(items) > most:
        raise TooManyPicturesError(most)
    several = len(items) > 1
    return [_picture(item, f"input[{n}]" if several else "input", max_bytes) for n, item in enumerate(items)]


def _picture(item: object, name: str, max_bytes: int) -> bytes:
    if isinstance(item, dict):
        url = item.get("image_url")
        item = item.get("image") or (url.get("url") if isinstance(url, dict) else url)
    elif isinstance(item, str) and ":" not in item[:20]:
        item = None  # text, or base64 that cannot be told from it
    if item is None or isinstance(item, int):
        raise InvalidRequestError(f"{name} is not a picture; this service embeds pictures, not text. Send {_FORMS}.")
    return decode_picture(item, name, max_bytes)


def _embeddings(answers: Sequence[Answer], dimensions: object) -> list[dict[str, object]]:
    """Raises InvalidRequestError."""
    found = []
    for index, answer in enumerate(answers):
        embedding = answer.predictions[0] if answer.predictions else None
        if not isinstance(embedding, Embedding):
            task = answer.model.task
            raise InvalidRequestError(f"{answer.model.name} is a model for {task}, not for image-feature-extraction.")
        if dimensions not in (None, embedding.dimensions):
            raise InvalidRequestError(
                f"dimensions must be {embedding.dimensions}, the length of this model's vectors, or absent: "
                "a shortened vector of a model that was not trained for it is not comparable."
            )
        found.append({"object": "embedding", "index": index, "embedding": embedding.embedding})
    return found


def _model(model: ModelSnapshot) -> dict[str, object]:
    since = next((one.since for one in model.versions if one.version == model.active), None)
    created = int(since.timestamp()) if isinstance(since, datetime) else 0
    return {"id": model.name, "object": "model", "created": created, "owned_by": "fovea"}


def _error(problem: Problem) -> dict[str, object]:
    kind = "server_error" if problem.status >= 500 else "invalid_request_error"
    return {"error": {"message": problem.detail, "type": kind, "param": None, "code": problem.code}}
