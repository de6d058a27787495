"""The operator's side: upload, load, unload, choose and delete models. Each needs an admin key."""

from collections.abc import Callable
from typing import Annotated, Any

from fastapi import APIRouter, Path
from pydantic import BaseModel
from starlette.requests import Request
from starlette.responses import Response

from api.openapi import WITH_ADMIN_KEY, error_responses
from api.routes.models import report_model
from api.schemas import SELECTOR, DefaultBody, ModelReport, VersionBody
from api.settings import ApiSettings
from api.uploads.json_body import json_body, read_json
from engine.inference_engine import InferenceEngine
from loaders.repository.names import MODEL_NAME

Name = Annotated[str, Path(pattern=f"^{MODEL_NAME.pattern}$", description="The model.")]
Selector = Annotated[str, Path(pattern=SELECTOR, description="The version's number or a label.")]
Label = Annotated[str, Path(pattern=r"^[A-Za-z_-][A-Za-z0-9._-]{0,63}$", description="Any name that is no number.")]


def admin_router(settings: ApiSettings, engine: Callable[[], InferenceEngine]) -> APIRouter:
    """`engine` gives the running engine, or raises NotReadyError."""
    router = APIRouter(prefix="/models", tags=["models: change"])
    responses = error_responses(401, 403, 404, 409, 422, 503)
    common: dict[str, Any] = {"openapi_extra": WITH_ADMIN_KEY, "responses": responses}
    with_body = {**common, "responses": responses | error_responses(408, 413, 415)}

    @router.put("/default", response_model=ModelReport, **_with_json(with_body, DefaultBody))
    async def set_default(request: Request) -> ModelReport:
        """Makes a model the one that answers when a request names none; it is loaded first."""
        running = engine()
        body = await read_json(request, DefaultBody, settings.body_timeout_s)
        await running.admin.set_default(body.name)
        return report_model(running.models, body.name)

    @router.put("/{name}/active", response_model=ModelReport, **_with_json(with_body, VersionBody))
    async def set_active(request: Request, name: Name) -> ModelReport:
        """Makes a version the one that answers for its model: loaded first, then swapped in; no request is lost."""
        running = engine()
        body = await read_json(request, VersionBody, settings.body_timeout_s)
        await running.admin.set_active(name, body.version)
        return report_model(running.models, name)

    @router.delete("/{name}/active", response_model=ModelReport, **common)
    async def unset_active(name: Name) -> ModelReport:
        """Takes the choice back: the highest version is active again."""
        running = engine()
        await running.admin.unset_active(name)
        return report_model(running.models, name)

    @router.put("/{name}/labels/{label}", response_model=ModelReport, **_with_json(with_body, VersionBody))
    async def set_label(request: Request, name: Name, label: Label) -> ModelReport:
        """Lets a label such as `stable` stand for a version; the version is loaded first."""
        running = engine()
        body = await read_json(request, VersionBody, settings.body_timeout_s)
        await running.admin.set_label(name, label, body.version)
        return report_model(running.models, name)

    @router.delete("/{name}/labels/{label}", response_model=ModelReport, **common)
    async def delete_label(name: Name, label: Label) -> ModelReport:
        running = engine()
        await running.admin.delete_label(name, label)
        return report_model(running.models, name)

    @router.post("/{name}/load", response_model=ModelReport, **common)
    @router.post("/{name}/versions/{selector}/load", response_model=ModelReport, **common)
    async def load(name: Name, selector: Selector | None = None) -> ModelReport:
        """Loads a version now, without one the active version; answers when it is loaded or has failed."""
        running = engine()
        await running.admin.load(name, selector)
        return report_model(running.models, name)

    @router.post("/{name}/unload", response_model=ModelReport, **common)
    @router.post("/{name}/versions/{selector}/unload", response_model=ModelReport, **common)
    async def unload(name: Name, selector: Selector | None = None) -> ModelReport:
        """Takes a version out of memory; it comes back when it is asked for."""
        running = engine()
        await running.admin.unload(name, selector)
        return report_model(running.models, name)

    @router.delete("/{name}/versions/{selector}", status_code=204, **common)
    async def delete_version(name: Name, selector: Selector) -> Response:
        """Deletes a version's folder; never the one that serves."""
        await engine().admin.delete_version(name, selector)
        return Response(status_code=204)

    @router.delete("/{name}", status_code=204, **common)
    async def delete_model(name: Name) -> Response:
        """Deletes a model with all its versions; never the default."""
        await engine().admin.delete_model(name)
        return Response(status_code=204)

    return router


def _with_json(route: dict[str, Any], shape: type[BaseModel]) -> dict[str, Any]:
    return {**route, "openapi_extra": route["openapi_extra"] | json_body(shape)}
