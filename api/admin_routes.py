"""The operator's side: upload, load, unload, choose and delete models. Each needs an admin key."""

import asyncio
import hashlib
from collections.abc import Callable
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query
from starlette.requests import Request
from starlette.responses import Response

from api.body import read_chunks, refuse_encoded
from api.model_routes import report_model
from api.multipart import MultipartReader, Write
from api.openapi import MODEL_BODY, WITH_ADMIN_KEY, error_responses
from api.problems import BodyTooLargeError, DigestError, MalformedMultipartError, UnknownFieldError
from api.schemas import AddedVersion, DefaultBody, ModelReport, VersionBody
from api.settings import ApiSettings
from api.upload import ENVELOPE_BYTES, multipart_boundary
from engine.inference_engine import InferenceEngine
from engine.model_admin import StagedUpload

_SIDECAR_BYTES = 8 * 1024 * 1024
_FILES = {"model": "model.onnx", "spec": "model.toml", "labels": "labels.txt"}

Name = Annotated[str, Path(pattern=r"^[A-Za-z0-9_-][A-Za-z0-9._-]{0,127}$", description="The model.")]
Selector = Annotated[str, Path(pattern=r"^[A-Za-z0-9._-]{1,128}$", description="The version's number or a label.")]
Label = Annotated[str, Path(pattern=r"^[A-Za-z_-][A-Za-z0-9._-]{0,63}$", description="Any name that is no number.")]


def admin_router(settings: ApiSettings, engine: Callable[[], InferenceEngine]) -> APIRouter:
    """`engine` gives the running engine, or raises NotReadyError."""
    router = APIRouter(prefix="/models", tags=["models: change"])
    common: dict[str, Any] = {
        "openapi_extra": WITH_ADMIN_KEY,
        "responses": error_responses(401, 403, 404, 409, 422, 503),
    }

    @router.put("/default", response_model=ModelReport, **common)
    async def set_default(body: DefaultBody) -> ModelReport:
        """Makes a model the one that answers when a request names none; it is loaded first."""
        running = engine()
        await running.admin.set_default(body.name)
        return report_model(running.models, body.name)

    @router.put("/{name}/active", response_model=ModelReport, **common)
    async def set_active(name: Name, body: VersionBody) -> ModelReport:
        """Makes a version the one that answers for its model: loaded first, then swapped in; no request is lost."""
        running = engine()
        await running.admin.set_active(name, body.version)
        return report_model(running.models, name)

    @router.put("/{name}/labels/{label}", response_model=ModelReport, **common)
    async def set_label(name: Name, label: Label, body: VersionBody) -> ModelReport:
        """Lets a label such as `stable` stand for a version; the version is loaded first."""
        running = engine()
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
        running.admin.unload(name, selector)
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

    @router.post(
        "/{name}/versions",
        status_code=201,
        response_model=AddedVersion,
        responses=error_responses(400, 401, 403, 409, 413, 415, 422, 503),
        openapi_extra=MODEL_BODY | WITH_ADMIN_KEY,
    )
    async def add_version(
        request: Request,
        name: Name,
        version: Annotated[
            int | None, Query(ge=0, le=999_999_999, description="Its number; the next one if none.")
        ] = None,
        sha256: Annotated[str | None, Query(pattern="^[0-9a-f]{64}$", description="Checked when given.")] = None,
    ) -> AddedVersion:
        """Uploads a version: the .onnx file as the body, or a form with `model` and optionally `spec` and `labels`.

        It is checked in a process of its own before it is put into place; the highest version serves unless another
        is active.
        """
        admin = engine().admin
        staged = await asyncio.to_thread(admin.stage)
        try:
            found = await _Receiver(staged, settings.max_model_bytes).receive(request)
            if sha256 not in (None, found):
                raise DigestError(sha256 or "", found)
            number = await admin.add_version(name, version, staged)
        finally:
            await asyncio.to_thread(staged.discard)
        return AddedVersion(name=name, version=number, sha256=found)

    return router


class _Receiver:
    """Streams one upload into its staged folder; the event loop never waits for the disk longer than a chunk takes."""

    def __init__(self, staged: StagedUpload, max_bytes: int) -> None:
        self._staged = staged
        self._max_bytes = max_bytes
        self._digest = hashlib.sha256()
        self._left = {"model": max_bytes, "spec": _SIDECAR_BYTES, "labels": _SIDECAR_BYTES}
        self._written: set[str] = set()

    async def receive(self, request: Request) -> str:
        """The graph's sha256. Raises RequestError; ClientDisconnect."""
        refuse_encoded(request)
        boundary = multipart_boundary(request)
        if boundary is None:
            write = self._open_field("model", None)
            async for chunk in read_chunks(request, self._max_bytes, self._max_bytes):
                await asyncio.to_thread(write, memoryview(chunk))
        else:
            most = sum(self._left.values()) + ENVELOPE_BYTES
            await MultipartReader(boundary, self._open_field).read(read_chunks(request, most, self._max_bytes))
        if "model" not in self._written:
            raise MalformedMultipartError("The form has no field 'model' with the .onnx file.")
        return self._digest.hexdigest()

    def _open_field(self, name: str, filename: str | None) -> Write:  # noqa: ARG002 - what the client calls it is its own
        if name not in _FILES or name in self._written:
            raise UnknownFieldError(name, "An upload has model, spec and labels, each at most once.")
        self._written.add(name)
        (self._staged.folder / _FILES[name]).touch()
        return lambda data: self._write(name, data)

    def _write(self, name: str, data: memoryview) -> None:
        self._left[name] -= len(data)
        if self._left[name] < 0:
            raise BodyTooLargeError(self._max_bytes if name == "model" else _SIDECAR_BYTES)
        with (self._staged.folder / _FILES[name]).open("ab") as file:
            file.write(data)
        if name == "model":
            self._digest.update(data)
