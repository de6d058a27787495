"""The operator's side: load, unload, choose and delete models. Each needs an admin key."""

from collections.abc import Awaitable, Callable
from typing import Annotated, Any

from fastapi import APIRouter, Depends
from pydantic import BaseModel
from starlette.responses import Response

from api.openapi import WITH_ADMIN_KEY, error_responses, json_body
from api.routes.models import Label, ModelName, Selector, report_model
from api.schemas import DefaultBody, ModelReport, VersionBody
from api.settings import ApiSettings
from api.uploads.json_body import json_reader
from engine.inference_engine import InferenceEngine

_ERRORS = error_responses(401, 403, 404, 409, 422, 503)
_BODY_ERRORS = error_responses(408, 413, 415)


def admin_router(settings: ApiSettings, engine: Callable[[], InferenceEngine]) -> APIRouter:
    """`engine` gives the running engine, or raises NotReadyError."""
    router = APIRouter(prefix="/models", tags=["models: change"], responses=_ERRORS)

    default_body = Annotated[DefaultBody, Depends(json_reader(DefaultBody, settings.body_timeout_s))]
    version_body = Annotated[VersionBody, Depends(json_reader(VersionBody, settings.body_timeout_s))]

    async def changed(name: str, change: Awaitable[object]) -> ModelReport:
        await change
        return report_model(engine().models, name)

    @router.put("/default", summary="Set the default model", **_with_body(DefaultBody))
    async def set_default_model(body: default_body) -> ModelReport:
        """Sets the model for requests without `model`. It is loaded first."""
        return await changed(body.name, engine().admin.set_default(body.name))

    @router.put("/{name}/active", summary="Set the active version", **_with_body(VersionBody))
    async def set_active_version(name: ModelName, body: version_body) -> ModelReport:
        """Sets the version for requests without `version`. It is loaded, then swapped in; no request fails."""
        return await changed(name, engine().admin.set_active(name, body.version))

    @router.delete("/{name}/active", summary="Unset the active version", openapi_extra=WITH_ADMIN_KEY)
    async def unset_active_version(name: ModelName) -> ModelReport:
        """Makes the highest version active again."""
        return await changed(name, engine().admin.unset_active(name))

    @router.put("/{name}/labels/{label}", summary="Set a label", **_with_body(VersionBody))
    async def set_label(name: ModelName, label: Label, body: version_body) -> ModelReport:
        """Sets a label, such as `stable`, to a version. The version is loaded first."""
        return await changed(name, engine().admin.set_label(name, label, body.version))

    @router.delete("/{name}/labels/{label}", summary="Delete a label", openapi_extra=WITH_ADMIN_KEY)
    async def delete_label(name: ModelName, label: Label) -> ModelReport:
        """Deletes a label. Its version stays."""
        return await changed(name, engine().admin.delete_label(name, label))

    @router.post("/{name}/load", summary="Load a model", openapi_extra=WITH_ADMIN_KEY)
    async def load_model(name: ModelName) -> ModelReport:
        """Loads the active version. Responds when it is loaded or has failed."""
        return await changed(name, engine().admin.load(name, None))

    @router.post("/{name}/versions/{selector}/load", summary="Load a version", openapi_extra=WITH_ADMIN_KEY)
    async def load_version(name: ModelName, selector: Selector) -> ModelReport:
        """Loads a version. Responds when it is loaded or has failed."""
        return await changed(name, engine().admin.load(name, selector))

    @router.post("/{name}/unload", summary="Unload a model", openapi_extra=WITH_ADMIN_KEY)
    async def unload_model(name: ModelName) -> ModelReport:
        """Unloads the serving version; a request loads it again. The default model is rejected with 409."""
        return await changed(name, engine().admin.unload(name, None))

    @router.post("/{name}/versions/{selector}/unload", summary="Unload a version", openapi_extra=WITH_ADMIN_KEY)
    async def unload_version(name: ModelName, selector: Selector) -> ModelReport:
        """Unloads a version; a request loads it again. The default model's serving version is rejected with 409."""
        return await changed(name, engine().admin.unload(name, selector))

    @router.delete(
        "/{name}/versions/{selector}", summary="Delete a version", status_code=204, openapi_extra=WITH_ADMIN_KEY
    )
    async def delete_version(name: ModelName, selector: Selector) -> Response:
        """Deletes a version and its files. The serving version and the only version are rejected with 409."""
        await engine().admin.delete_version(name, selector)
        return Response(status_code=204)

    @router.delete("/{name}", summary="Delete a model", status_code=204, openapi_extra=WITH_ADMIN_KEY)
    async def delete_model(name: ModelName) -> Response:
        """Deletes a model and all its versions. The default model is rejected with 409."""
        await engine().admin.delete_model(name)
        return Response(status_code=204)

    return router


def _with_body(shape: type[BaseModel]) -> dict[str, Any]:
    return {"responses": _BODY_ERRORS, "openapi_extra": WITH_ADMIN_KEY | json_body(shape)}
