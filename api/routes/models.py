"""GET /models: the models, their specs with the source of each field, and their states."""

import hashlib
from collections.abc import Callable
from dataclasses import asdict
from typing import Annotated, Any

import orjson
from fastapi import APIRouter, Path
from pydantic import BaseModel
from starlette.requests import Request
from starlette.responses import Response

from api.openapi import WITH_KEY, error_responses
from api.responses import json_response
from api.schemas import (
    MAX_NAME,
    SELECTOR,
    FieldReport,
    ModelDetails,
    ModelList,
    ModelReport,
    NotServed,
    TuningReport,
)
from engine.inference_engine import InferenceEngine
from engine.models.loaded_model import LoadedModel
from engine.models.model_manager import ModelManager
from loaders.model_errors import ModelError
from loaders.repository.names import MODEL_NAME

# Path parameters. A model that is only looked up may have any name: an unknown one is 404.
AnyName = Annotated[str, Path(max_length=MAX_NAME, description="The model's name.")]
ModelName = Annotated[str, Path(pattern=f"^{MODEL_NAME.pattern}$", description="The model's name.")]
Selector = Annotated[str, Path(pattern=SELECTOR, description="The version's number or one of its labels.")]
Label = Annotated[str, Path(pattern=r"^[A-Za-z_-][A-Za-z0-9._-]{0,63}$", description="A label, such as `stable`.")]
_NOT_MODIFIED: dict[int | str, dict[str, Any]] = {304: {"description": "Unchanged since the ETag in If-None-Match."}}


def model_router(engine: Callable[[], InferenceEngine]) -> APIRouter:
    """`engine` gives the running engine, or raises NotReadyError."""
    router = APIRouter(prefix="/models", tags=["models"])

    @router.get(
        "",
        summary="List models",
        response_model=ModelList,
        responses=_NOT_MODIFIED | error_responses(401, 403, 503),
        openapi_extra=WITH_KEY,
    )
    async def list_models(request: Request) -> Response:
        """Every model with its versions and their states. With its ETag in If-None-Match: 304 if nothing changed."""
        snapshot = engine().models.snapshot()
        reports = [ModelReport.model_validate(asdict(model)) for model in snapshot.models]
        not_served = [NotServed(name=entry, reason=reason) for entry, reason in snapshot.invalid.items()]
        return _with_etag(request, ModelList(default=snapshot.default, models=reports, not_served=not_served))

    @router.get(
        "/{name}",
        summary="Get a model",
        response_model=ModelDetails,
        responses=_NOT_MODIFIED | error_responses(401, 403, 404, 422, 503),
        openapi_extra=WITH_KEY,
    )
    async def get_model(request: Request, name: AnyName) -> Response:
        """Returns a model, its versions, its tuning, and for every field of its spec the source that decided it."""
        running = engine()
        running.models.version(name)
        spec, warnings = await _describe(running, name)
        loaded = running.models.ready(name)
        details = ModelDetails(
            **report_model(running.models, name).model_dump(),
            spec=spec,
            warnings=[*warnings, *(loaded.session.notes if loaded else ())],
            providers=list(loaded.session.providers) if loaded else [],
            runtime=loaded.runtime if loaded else None,
            tuning=_tuning(loaded) if loaded else None,
            samples=loaded.samples if loaded else None,
        )
        return _with_etag(request, details)

    return router


async def _describe(engine: InferenceEngine, name: str) -> tuple[dict[str, FieldReport], list[str]]:
    """Every field with what decided it; for a model that cannot be understood, why not."""
    try:
        resolved = await engine.describe(name)
    except ModelError as error:
        return {}, [str(error)]
    spec = {
        field: FieldReport(value=value, decided_by=resolved.decided_by[field])
        for field, value in resolved.fields().items()
    }
    return spec, list(resolved.warnings)


def _tuning(model: LoadedModel) -> TuningReport:
    """The plan that runs; where it is not what was measured, the operator has fixed it."""
    plan, tuning = model.runner.plan, model.tuning
    if tuning is None:
        return TuningReport(plan=plan, level=None, reason="nothing was measured", measured=[], measured_at=None)
    reason = tuning.reason if plan == tuning.plan else f"fixed by settings; else: {tuning.reason}"
    return TuningReport.model_validate({**asdict(tuning), "plan": asdict(plan), "reason": reason})


def report_model(models: ModelManager, name: str) -> ModelReport:
    """Raises UnknownModelError."""
    return ModelReport.model_validate(asdict(models.report(name)))


def _with_etag(request: Request, report: BaseModel) -> Response:
    body = orjson.dumps(report.model_dump(mode="json"))
    etag = f'"{hashlib.sha256(body).hexdigest()[:32]}"'
    headers: dict[str, Any] = {"ETag": etag, "Cache-Control": "no-cache"}
    known = {tag.strip().removeprefix("W/") for tag in request.headers.get("if-none-match", "").split(",")}
    if etag in known or "*" in known:
        return Response(status_code=304, headers=headers)
    return json_response(request, body, headers=headers)
