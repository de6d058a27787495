"""POST /models/{name}/versions: an .onnx file, streamed to disk, checked, and only then put into place."""

import asyncio
import hashlib
from collections.abc import Callable
from typing import Annotated

from fastapi import APIRouter, Query
from starlette.requests import Request

from api.openapi import MODEL_BODY, WITH_ADMIN_KEY, error_responses
from api.problems import BodyTooLargeError, DigestError, MalformedMultipartError, UnknownFieldError
from api.routes.admin import Name
from api.schemas import AddedVersion
from api.settings import ApiSettings
from api.uploads.body import read_chunks, refuse_encoded
from api.uploads.image_form import ENVELOPE_BYTES, multipart_boundary
from api.uploads.multipart import MultipartReader, Write
from engine.inference_engine import InferenceEngine
from loaders.model_errors import ModelStateError
from loaders.repository.model_repository import MAX_NUMBER
from loaders.repository.staged_version import StagedVersion

_SIDECAR_BYTES = 8 * 1024 * 1024
_FILES = {"model": "model.onnx", "spec": "model.toml", "labels": "labels.txt"}


def upload_router(settings: ApiSettings, engine: Callable[[], InferenceEngine]) -> APIRouter:
    """`engine` gives the running engine, or raises NotReadyError."""
    router = APIRouter(prefix="/models", tags=["models: change"])

    @router.post(
        "/{name}/versions",
        status_code=201,
        response_model=AddedVersion,
        responses=error_responses(400, 401, 403, 408, 409, 413, 415, 422, 503),
        openapi_extra=MODEL_BODY | WITH_ADMIN_KEY,
    )
    async def add_version(
        request: Request,
        name: Name,
        version: Annotated[
            int | None, Query(ge=0, le=MAX_NUMBER, description="Its number; the next one if none.")
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
            found = await _Receiver(staged, settings.max_model_bytes, settings.body_timeout_s).receive(request)
            if sha256 not in (None, found):
                raise DigestError(sha256 or "", found)
            number = await admin.add_version(name, version, staged)
        finally:
            await asyncio.to_thread(staged.discard)
        return AddedVersion(name=name, version=number, sha256=found)

    return router


class _Receiver:
    """Streams one upload into its staged folder, in threads: the event loop never waits for the disk."""

    def __init__(self, staged: StagedVersion, max_bytes: int, stall_s: float) -> None:
        self._staged = staged
        self._max_bytes = max_bytes
        self._stall_s = stall_s
        self._digest = hashlib.sha256()
        self._left = {"model": max_bytes, "spec": _SIDECAR_BYTES, "labels": _SIDECAR_BYTES}
        self._written: set[str] = set()

    async def receive(self, request: Request) -> str:
        """The graph's sha256. Raises RequestError; ClientDisconnect."""
        refuse_encoded(request)
        boundary = multipart_boundary(request)
        if boundary is None:
            write = await asyncio.to_thread(self._open_field, "model", None)
            async for chunk in read_chunks(request, self._max_bytes, self._max_bytes, self._stall_s):
                await asyncio.to_thread(write, memoryview(chunk))
        else:
            most = sum(self._left.values()) + ENVELOPE_BYTES
            chunks = read_chunks(request, most, self._max_bytes, self._stall_s)
            await MultipartReader(boundary, self._open_field).read(chunks, in_thread=True)
        if "model" not in self._written:
            raise MalformedMultipartError("The form has no field 'model' with the .onnx file.")
        return self._digest.hexdigest()

    def _open_field(self, name: str, filename: str | None) -> Write:  # noqa: ARG002 - what the client calls it is its own
        if name not in _FILES or name in self._written:
            raise UnknownFieldError(name, "An upload has model, spec and labels, each at most once.")
        self._written.add(name)
        self._write(name, memoryview(b""))
        return lambda data: self._write(name, data)

    def _write(self, name: str, data: memoryview) -> None:
        self._left[name] -= len(data)
        if self._left[name] < 0:
            raise BodyTooLargeError(self._max_bytes if name == "model" else _SIDECAR_BYTES)
        try:
            with (self._staged.folder / _FILES[name]).open("ab") as file:
                file.write(data)
        except OSError as error:  # the disk is full, most likely
            raise ModelStateError(f"the models folder cannot be written: {error.strerror}") from error
        if name == "model":
            self._digest.update(data)
