"""DeepStack's and CodeProject.AI's detection API, which NVRs and home automation use.

| address | model |
|---|---|
| POST /v1/vision/detection | the default model if it detects objects, otherwise the first by name that does |
| POST /v1/vision/face | the same for faces: a model with the head yunet |
| POST /v1/vision/custom/{model} | the named one |
| GET or POST /v1/vision/custom/list | names of all models |

The picture is the form field `image`; a key may be the form field `api_key`, since these clients send no headers.
"""

from collections.abc import Callable
from contextlib import suppress
from io import BytesIO

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from api.dialects.dialect import DialectContext, answer_response
from api.problems import BodyTooLargeError, InvalidRequestError, NoPictureError, ParameterError, Problem
from api.security.keys import key_in_header
from api.uploads.body import BodyLimits, RequestBody
from api.uploads.multipart import ENVELOPE_BYTES, MultipartReader, Write, multipart_boundary
from api.uploads.pictures import UploadLimits
from engine.inference_engine import InferenceEngine, ModelChoice
from engine.models.load_attempt import ModelUnavailableError
from engine.pipeline import Answer
from engine.tasks.predictions import Detection, InstanceSegment
from engine.tasks.task import PredictOptions
from loaders.model_errors import ModelError
from loaders.repository.model_repository import ModelVersion
from loaders.repository.specs.model_spec import Head, ModelSpec, TaskName

_OK = 200
_MAX_TEXT_BYTES = 1024
_FIELDS = ("image", "min_confidence", "api_key")


class _ModelFinder:
    """Keeps the specs that it has read from the files of models that are not loaded."""

    def __init__(self) -> None:
        self._specs: dict[ModelVersion, ModelSpec] = {}

    async def __call__(self, engine: InferenceEngine, things: str, detects: Callable[[ModelSpec], bool]) -> str:
        """The first model that detects `things`, the default one before the others. Raises InvalidRequestError."""
        models = engine.models
        for name in sorted(models.catalog, key=lambda name: (name != models.default, name)):
            with suppress(ModelError, ModelUnavailableError):  # this model cannot be understood
                if detects(await self._spec(engine, name)):
                    return name
        raise InvalidRequestError(f"No model here detects {things}; add one, or use /v1/vision/custom/<model>.")

    async def _spec(self, engine: InferenceEngine, name: str) -> ModelSpec:
        if serving := engine.models.ready(name):
            return serving.resolved.spec
        version = engine.models.version(name)
        if version not in self._specs:
            self._specs[version] = (await engine.describe(name)).spec
        return self._specs[version]


class _Form:
    """The picture, and short texts by name. Unknown fields are ignored: products send fields of their own."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._fields: dict[str, BytesIO] = {}

    def open_field(self, name: str, filename: str | None) -> Write:
        name = "image" if filename is not None else name
        if name not in _FIELDS:
            return lambda _: None
        data = self._fields[name] = BytesIO()
        most = self._max_bytes if name == "image" else _MAX_TEXT_BYTES

        def write(piece: memoryview) -> None:
            if data.tell() + len(piece) > most:
                raise BodyTooLargeError(most)
            data.write(piece)

        return write

    def close_field(self) -> None:
        """Nothing to do: each piece is written at once."""

    def picture(self) -> bytes:
        """Raises NoPictureError."""
        if "image" not in self._fields:
            raise NoPictureError("The form has no field 'image'; send the picture in it.")
        return self._fields["image"].getvalue()

    def text(self, name: str) -> str:
        return self._fields[name].getvalue().decode("utf-8", "replace") if name in self._fields else ""

    def threshold(self) -> float | None:
        """Raises ParameterError."""
        text = self.text("min_confidence").strip()
        try:
            value = float(text) if text else None
        except ValueError:
            value = -1.0
        if value is not None and not 0 <= value <= 1:
            raise ParameterError(f"min_confidence={text[:100]}: give a number from 0 to 1")
        return value


def deepstack_router(context: DialectContext) -> APIRouter:
    router = APIRouter(prefix="/v1/vision", include_in_schema=False)
    context.error_members[router.prefix] = _error
    limits, find = context.upload_limits, _ModelFinder()

    @router.post("/detection")
    async def detect(request: Request) -> Response:
        form = await authorise(request)
        return await answer(request, form, await find(context.engine(), "objects", _detects_objects))

    @router.post("/face")
    async def detect_faces(request: Request) -> Response:
        form = await authorise(request)
        return await answer(request, form, await find(context.engine(), "faces", _detects_faces))

    @router.api_route("/custom/list", methods=["GET", "POST"])
    async def list_models(request: Request) -> dict[str, object]:
        await authorise(request)
        names = sorted(context.engine().models.catalog)
        return {"success": True, "models": names, "count": len(names), "code": _OK}

    @router.post("/custom/{model}")
    async def detect_by_model(request: Request, model: str) -> Response:
        return await answer(request, await authorise(request), model)

    async def answer(request: Request, form: _Form | None, model: str) -> Response:
        choice = ModelChoice(model)
        async with context.admitted(request, choice):
            form = form or await _read(request, limits)
            answers = await context.predict(request, [form.picture()], choice, PredictOptions(None, form.threshold()))
        return answer_response(_shown(answers[0]), answers)

    async def authorise(request: Request) -> _Form | None:
        """Checks the key. If it can only be in the form, the form is read first, and returned."""
        in_form = context.settings.keys and key_in_header(request) is None and multipart_boundary(request)
        if not in_form:
            await context.guards.user(request)
            return None
        form = await _read(request, limits)
        await context.guards.user_by(request, lambda _: form.text("api_key") or None)
        return form

    return router


def _detects_objects(spec: ModelSpec) -> bool:
    return spec.task is TaskName.OBJECT_DETECTION and not _detects_faces(spec)


def _detects_faces(spec: ModelSpec) -> bool:
    return spec.head is Head.YUNET


async def _read(request: Request, limits: UploadLimits) -> _Form:
    """Raises RequestError, ClientDisconnect."""
    boundary = multipart_boundary(request)
    if boundary is None:
        raise NoPictureError("Send a form (multipart/form-data) with the picture in the field 'image'.")
    form = _Form(limits.max_bytes)
    reader = MultipartReader(boundary, form)
    body = RequestBody(
        request, BodyLimits(limits.max_bytes + ENVELOPE_BYTES, limits.max_bytes, limits.timeout_s), limits.memory
    )
    try:
        while not body.ended:
            reader.feed(await body.next())
        reader.finish()
    finally:
        body.release()
    return form


def _shown(answer: Answer) -> dict[str, object]:
    """Raises InvalidRequestError for a model without boxes."""
    found = []
    for one in answer.predictions:
        if not isinstance(one, Detection | InstanceSegment):
            raise InvalidRequestError(f"{answer.model.name} is a model for {answer.model.task}: it gives no boxes.")
        box = one.box
        corners = {"x_min": box.xmin, "y_min": box.ymin, "x_max": box.xmax, "y_max": box.ymax}
        whole = {name: int(value) for name, value in corners.items()}
        found.append({"label": one.label, "confidence": one.score or 0.0, **whole})
    timings = answer.timer.as_ms()
    return {
        "success": True,
        "predictions": found,
        "count": len(found),
        "inferenceMs": round(timings["inference"]),
        "processMs": round(timings["total"]),
        "code": _OK,
    }


def _error(problem: Problem) -> dict[str, object]:
    return {"success": False, "error": problem.detail, "code": problem.status}
