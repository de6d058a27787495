"""The operator's side: upload, load, unload, choose and delete models. Each needs an admin key."""

from collections.abc import Callable
from typing import Any

from fastapi import APIRouter
from pydantic import BaseModel
from starlette.requests import Request
from starlette.responses import Response

from api.openapi import WITH_ADMIN_KEY, error_responses, json_body
from api.routes.models import Label, ModelName, Selector, report_model
from api.schemas import DefaultBody, ModelReport, VersionBody
from api.settings import ApiSettings
from api.uploads.json_body import read_json
from engine.inference_engine import InferenceEngine


def admin_router(settings: ApiSettings, engine: Callable[[], InferenceEngine]) -> APIRouter:
    """`engine` gives the running engine, or raises NotReadyError."""
    router = APIRouter(prefix="/models", tags=["models: change"])
    responses = error_responses(401, 403, 404, 409, 422, 503)
    common: dict[str, Any] = {"openapi_extra": WITH_ADMIN_KEY, "responses": responses}
    with_body = {**common, "responses": responses | error_responses(408, 413, 415)}

    @router.put(
        "/default", summary="Set the default model", response_model=ModelReport, **_with_json(with_body, DefaultBody)
    )
    async def set_default_model(request: Request) -> ModelReport:
        """Sets the model for requests without `model`. It is loaded first."""
        running = engine()
        body = await read_json(request, DefaultBody, settings.body_timeout_s)
        await running.admin.set_default(body.name)
        return report_model(running.models, body.name)

    @router.put(
        "/{name}/active",
        summary="Set the active version",
        response_model=ModelReport,
        **_with_json(with_body, VersionBody),
    )
    async def set_active_version(request: Request, name: ModelName) -> ModelReport:
        """Sets the version for requests without `version`. It is loaded, then swapped in; no request fails."""
        running = engine()
        body = await read_json(request, VersionBody, settings.body_timeout_s)
        await running.admin.set_active(name, body.version)
        return report_model(running.models, name)

    @router.delete("/{name}/active", summary="Unset the active version", response_model=ModelReport, **common)
    async def unset_active_version(name: ModelName) -> ModelReport:
        """Makes the highest version active again."""
        running = engine()
        await running.admin.unset_active(name)
        return report_model(running.models, name)

    @router.put(
        "/{name}/labels/{label}",
        summary="Set a label",
        response_model=ModelReport,
        **_with_json(with_body, VersionBody),
    )
    async def set_label(request: Request, name: ModelName, label: Label) -> ModelReport:
        """Sets a label, such as `stable`, to a version. The version is loaded first."""
        running = engine()
        body = await read_json(request, VersionBody, settings.body_timeout_s)
        await running.admin.set_label(name, label, body.version)
        return report_model(running.models, name)

    @router.delete("/{name}/labels/{label}", summary="Delete a label", response_model=ModelReport, **common)
    async def delete_label(name: ModelName, label: Label) -> ModelReport:
        """Deletes a label. Its version stays."""
        running = engine()
        await running.admin.delete_label(name, label)
        return report_model(running.models, name)

    @router.post("/{name}/load", summary="Load a model", response_model=ModelReport, **common)
    async def load_model(name: ModelName) -> ModelReport:
        """Loads the active version. Responds when it is loaded or has failed."""
        running = engine()
        await running.admin.load(name, None)
        return report_model(running.models, name)

    @router.post("/{name}/versions/{selector}/load", summary="Load a version", response_model=ModelReport, **common)
    async def load_version(name: ModelName, selector: Selector) -> ModelReport:
        """Loads a version. Responds when it is loaded or has failed."""
        running = engine()
        await running.admin.load(name, selector)
        return report_model(running.models, name)

    @router.post("/{name}/unload", summary="Unload a model", response_model=ModelReport, **common)
    async def unload_model(name: ModelName) -> ModelReport:
        """Unloads the serving version; a request loads it again. The default model is rejected with 409."""
        running = engine()
        await running.admin.unload(name, None)
        return report_model(running.models, name)

    @router.post("/{name}/versions/{selector}/unload", summary="Unload a version", response_model=ModelReport, **common)
    async def unload_version(name: ModelName, selector: Selector) -> ModelReport:
        """Unloads a version; a request loads it again. The default model's serving version is rejected with 409."""
        running = engine()
        await running.admin.unload(name, selector)
        return report_model(running.models, name)

    @router.delete("/{name}/versions/{selector}", summary="Delete a version", status_code=204, **common)
    async def delete_version(name: ModelName, selector: Selector) -> Response:
        """Deletes a version and its files. The serving version and the only version are rejected with 409."""
        await engine().admin.delete_version(name, selector)
        return Response(status_code=204)

    @router.delete("/{name}", summary="Delete a model", status_code=204, **common)
    async def delete_model(name: ModelName) -> Response:
        """Deletes a model and all its versions. The default model is rejected with 409."""
        await engine().admin.delete_model(name)
        return Response(status_code=204)

    return router


def _with_json(route: dict[str, Any], shape: type[BaseModel]) -> dict[str, Any]:
    return {**route, "openapi_extra": route["openapi_extra"] | json_body(shape)}
