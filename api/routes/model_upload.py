"""POST /models/{name}/versions: a model's files are streamed to disk, checked, and then renamed into place."""

import asyncio
import hashlib
from collections.abc import Callable
from functools import partial
from pathlib import PurePosixPath
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
from loaders.repository.staged_version import GRAPH, LABELS, SPEC, StagedVersion, is_data_file

# Protocol Buffers allow no larger file.
MAX_MODEL_BYTES = 2**31
MAX_DATA_BYTES = 2**34  # of external weights, all files together
_SIDECAR_BYTES = 8 * 1024 * 1024
_FILES = {"model": GRAPH, "spec": SPEC, "labels": LABELS}
_FIELDS = (
    "An upload has the fields model, spec and labels, each at most once, and data for each file of external weights."
)


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
        """Adds a version from an .onnx file, sent as the raw body or as a form: `model`, `spec`, `labels`, `data`.

        It is checked in a separate process before it is added. The highest version is served unless another is active.
        """
        admin = engine().admin
        staged = await asyncio.to_thread(admin.stage)
        try:
            found = await _receive(request, _ModelForm(staged), settings.body_timeout_s)
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
    most = form.max_bytes if boundary else MAX_MODEL_BYTES
    body = RequestBody(request, BodyLimits(most, MAX_MODEL_BYTES, stall_s, per_chunk=True))
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

    def __init__(self, staged: StagedVersion) -> None:
        self._staged = staged
        self._digest = hashlib.sha256()
        self._limits = {
            "model": MAX_MODEL_BYTES, "spec": _SIDECAR_BYTES, "labels": _SIDECAR_BYTES, "data": MAX_DATA_BYTES
        }  # fmt: skip
        self._written = dict.fromkeys(self._limits, 0)
        self._files: set[str] = set()

    @property
    def max_bytes(self) -> int:
        return sum(self._limits.values()) + ENVELOPE_BYTES

    def open_field(self, name: str, filename: str | None) -> Write:
        """Of `data`, the last part of the filename counts: the graph names its weights by it."""
        file = PurePosixPath((filename or "").replace("\\", "/")).name if name == "data" else _FILES.get(name, "")
        if not file or file in self._files or (name == "data" and not is_data_file(file)):
            raise UnknownFieldError(name, _FIELDS)
        self._files.add(file)
        self._write(name, file, memoryview(b""))
        return partial(self._write, name, file)

    def close_field(self) -> None:
        """Nothing to do: each piece is written at once."""

    def sha256(self) -> str:
        """Raises MalformedMultipartError without a model."""
        if GRAPH not in self._files:
            raise MalformedMultipartError("The form has no field 'model' with the .onnx file.")
        return self._digest.hexdigest()

    def _write(self, name: str, filename: str, data: memoryview) -> None:
        self._written[name] += len(data)
        if self._written[name] > self._limits[name]:
            raise BodyTooLargeError(self._limits[name])
        try:
            with (self._staged.folder / filename).open("ab") as file:
                file.write(data)
        except OSError as error:
            raise ModelStateError(f"cannot write to the models folder: {error.strerror}") from error
        if name == "model":
            self._digest.update(data)
