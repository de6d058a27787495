"""POST /models/{name}/versions: an .onnx file is streamed to disk, checked, and then renamed to its final name."""

import asyncio
import hashlib
from collections.abc import Callable
from typing import Annotated

from fastapi import APIRouter, Query
from starlette.requests import Request

from api.openapi import MODEL_BODY, WITH_ADMIN_KEY, error_responses
from api.problems import BodyTooLargeError, DigestError, MalformedMultipartError, UnknownFieldError
from api.routes.models import ModelName
from api.schemas import AddedVersion
from api.settings import ApiSettings
from api.uploads.body import BodyLimits, RequestBody
from api.uploads.multipart import ENVELOPE_BYTES, MultipartReader, Write, multipart_boundary
from engine.inference_engine import InferenceEngine
from loaders.model_errors import ModelStateError
from loaders.repository.model_repository import MAX_NUMBER
from loaders.repository.staged_version import StagedVersion

# Protocol Buffers allow no larger file.
MAX_MODEL_BYTES = 2**31
_SIDECAR_BYTES = 8 * 1024 * 1024
_FILES = {"model": "model.onnx", "spec": "model.toml", "labels": "labels.txt"}


def upload_router(settings: ApiSettings, engine: Callable[[], InferenceEngine]) -> APIRouter:
    """`engine` returns the running engine, or raises NotReadyError."""
    router = APIRouter(prefix="/models", tags=["models: change"])

    @router.post(
        "/{name}/versions",
        summary="Upload a version",
        status_code=201,
        response_model=AddedVersion,
        responses=error_responses(400, 401, 403, 408, 409, 413, 415, 422, 503),
        openapi_extra=MODEL_BODY | WITH_ADMIN_KEY,
    )
    async def add_version(
        request: Request,
        name: ModelName,
        version: Annotated[
            int | None, Query(ge=0, le=MAX_NUMBER, description="Version number; default: the highest plus one.")
        ] = None,
        sha256: Annotated[
            str | None,
            Query(pattern="^[0-9a-f]{64}$", description="Expected SHA-256 of the .onnx file, in hexadecimal."),
        ] = None,
    ) -> AddedVersion:
        """Adds a version from an .onnx file, sent as the raw body, or as a form with `model`, `spec` and `labels`.

        It is checked in a separate process before it is added. The highest version is served unless another is active.
        """
        admin = engine().admin
        staged = await asyncio.to_thread(admin.stage)
        try:
            found = await _receive(request, _ModelForm(staged, MAX_MODEL_BYTES), settings.body_timeout_s)
            if sha256 not in (None, found):
                raise DigestError(sha256 or "", found)
            number = await admin.add_version(name, version, staged)
        finally:
            await asyncio.to_thread(staged.discard)
        return AddedVersion(name=name, version=number, sha256=found)

    return router


async def _receive(request: Request, form: "_ModelForm", stall_s: float) -> str:
    """The graph's sha256. Writes in threads. Raises RequestError, ModelStateError, ClientDisconnect."""
    boundary = multipart_boundary(request)
    most = form.max_model_bytes if boundary is None else form.max_model_bytes + 2 * _SIDECAR_BYTES + ENVELOPE_BYTES
    body = RequestBody(request, BodyLimits(most, form.max_model_bytes, stall_s, per_chunk=True))
    if boundary is None:
        write = await asyncio.to_thread(form.open_field, "model", None)
        while not body.ended:
            await asyncio.to_thread(write, memoryview(await body.next()))
    else:
        reader = MultipartReader(boundary, form)
        while not body.ended:
            await asyncio.to_thread(reader.feed, await body.next())
        reader.finish()
    return form.sha256()


class _ModelForm:
    """Writes the fields of one upload into its staged folder. Its methods block on the disk."""

    def __init__(self, staged: StagedVersion, max_model_bytes: int) -> None:
        self.max_model_bytes = max_model_bytes
        self._staged = staged
        self._digest = hashlib.sha256()
        self._limits = {"model": max_model_bytes, "spec": _SIDECAR_BYTES, "labels": _SIDECAR_BYTES}
        self._written: dict[str, int] = {}

    def open_field(self, name: str, filename: str | None) -> Write:  # noqa: ARG002 - the client's filename is not used
        if name not in _FILES or name in self._written:
            raise UnknownFieldError(name, "An upload has the fields model, spec and labels, each at most once.")
        self._written[name] = 0
        self._write(name, memoryview(b""))
        return lambda data: self._write(name, data)

    def close_field(self) -> None:
        """Nothing to do: each piece is written at once."""

    def sha256(self) -> str:
        """Raises MalformedMultipartError without a model."""
        if "model" not in self._written:
            raise MalformedMultipartError("The form has no field 'model' with the .onnx file.")
        return self._digest.hexdigest()

    def _write(self, name: str, data: memoryview) -> None:
        self._written[name] += len(data)
        if self._written[name] > self._limits[name]:
            raise BodyTooLargeError(self._limits[name])
        try:
            with (self._staged.folder / _FILES[name]).open("ab") as file:
                file.write(data)
        except OSError as error:
            raise ModelStateError(f"cannot write to the models folder: {error.strerror}") from error
        if name == "model":
            self._digest.update(data)
