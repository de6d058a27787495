"""Requests and responses, as /docs and /openapi.json show them."""

from datetime import datetime
from typing import Annotated

from pydantic import ConfigDict, Field
from pydantic.config import JsonDict

from api.health import PartStatus
from api.prediction_schemas import Predictions
from api.prediction_schemas import Strict as _Strict
from engine.models.load_attempt import ModelState
from engine.models.runtime_report import RuntimeChoice
from engine.models.sample_report import SampleReport
from engine.scheduling.run_plan import RunPlan, TuneLevel
from engine.scheduling.tuning import Measurement
from engine.tasks.task import MAX_TOP_K, Encoding
from loaders.repository.model_repository import MAX_NUMBER
from loaders.repository.specs.model_spec import TaskName
from loaders.runtimes.base import Precision

MAX_MODELS = 8
MAX_NAME = 128
# A version's number, or a label.
SELECTOR = r"^[A-Za-z0-9._-]{1,128}$"


class InferQuery(_Strict):
    """Query parameters of /infer. Unknown parameters are rejected."""

    model: list[Annotated[str, Field(max_length=MAX_NAME, examples=["efficientnet-lite0"])]] = Field(
        [],
        max_length=MAX_MODELS,
        description="Name of a model in GET /models; default: the default model. Repeat it to run several models.",
    )
    version: list[Annotated[str, Field(pattern=SELECTOR, examples=["1", "stable"])]] = Field(
        [],
        max_length=MAX_MODELS,
        description="Version number or label; default: the active version. With several models: one for each. "
        "Repeat it to compare versions of one model.",
    )
    top_k: int | None = Field(None, ge=1, le=MAX_TOP_K, description="Maximum predictions; default: the model's own.")
    threshold: float | None = Field(
        None, ge=0, le=1, allow_inf_nan=False, description="Minimum score of a prediction; default: the model's own."
    )
    normalize: bool | None = Field(None, description="Scale embeddings to unit length; default: the model's own.")
    encoding: Encoding = Field("list", description="Embeddings and tensors: list of numbers, or base64 of raw bytes.")
    predicted_depth: bool = Field(False, description="Depth maps: return the values of all pixels, too.")


class BatchQuery(InferQuery):
    """Query parameters of /infer/batch; they apply to every picture."""

    stream: bool = Field(False, description="Send each result when it is ready, one JSON object a line (NDJSON).")


class ModelInfo(_Strict):
    """The model and version that made the predictions. `precision`: bf16 and int8 with API_PRECISION=fast."""

    name: str
    version: int
    task: TaskName
    precision: Precision


class ImageDetails(_Strict):
    """The picture as sent, after EXIF rotation. `alpha` is true if pixels are transparent, and missing otherwise."""

    filename: str | None
    format: str
    width: int
    height: int
    alpha: bool | None = None


class TimingsMs(_Strict):
    """Duration of each stage in milliseconds, as in the Server-Timing header and the log."""

    decode: float
    preprocess: float
    queue: float
    inference: float
    postprocess: float
    total: float


class ModelAnswer(_Strict):
    """The predictions of one model."""

    model: ModelInfo
    predictions: Predictions
    timings_ms: TimingsMs


ANSWER_EXAMPLE: JsonDict = {
    "model": {"name": "efficientnet-lite0", "version": 1, "task": "image-classification", "precision": "exact"},
    "image": {"filename": "cat.jpg", "format": "JPEG", "width": 451, "height": 300},
    "predictions": [{"label": "tiger cat", "class_id": 282, "score": 0.38619885}],
    "timings_ms": {"decode": 0.6, "preprocess": 0.7, "queue": 0.0, "inference": 3.8, "postprocess": 0.2, "total": 5.6},
}


class InferResponse(ModelAnswer):
    """The predictions of one model for one picture."""

    image: ImageDetails
    request_id: str

    model_config = ConfigDict(
        json_schema_extra={"example": {**ANSWER_EXAMPLE, "request_id": "c5f545c626634c8ba831a90f6c6e3e94"}}
    )


class InferManyResponse(_Strict):
    """The predictions of several models for one picture, in the order of the request."""

    image: ImageDetails
    results: list[ModelAnswer]
    request_id: str


class ItemProblem(_Strict):
    """An error (RFC 9457 problem details): `code` is for programs, `detail` for people."""

    type: str
    title: str
    status: int
    detail: str
    code: str


class ProblemDetails(ItemProblem):
    """An error (RFC 9457 problem details): `code` is for programs, `detail` for people, `request_id` is in the log."""

    request_id: str


class BatchResult(_Strict):
    """The result for the picture at `index`, counted from 0: the fields of /infer's response, or an `error`.

    With several models, `results` has the predictions of each.
    """

    index: int
    filename: str | None
    model: ModelInfo | None = None
    image: ImageDetails | None = None
    predictions: Predictions | None = None
    timings_ms: TimingsMs | None = None
    results: list[ModelAnswer] | None = None
    error: ItemProblem | None = None

    model_config = ConfigDict(json_schema_extra={"example": {"index": 0, "filename": "cat.jpg", **ANSWER_EXAMPLE}})


class BatchResponse(_Strict):
    """One result for each picture, in the order of the request."""

    results: list[BatchResult]
    request_id: str


class PartReport(_Strict):
    """One part of the service. `reason`: why it is not ok, or a warning if it is. `since`: UTC."""

    status: PartStatus
    reason: str | None
    since: datetime | None


class HealthReport(_Strict):
    """The state of the service and of each part. `status` is the worst of the parts.

    `reason`: why the service is not ready. `providers`: execution providers of the default model.
    """

    status: PartStatus
    reason: str | None
    parts: dict[str, PartReport]
    providers: list[str]
    versions: dict[str, str]
    uptime_s: float


class Alive(_Strict):
    """The process is alive."""

    status: str = "alive"


class Ready(_Strict):
    """The service is ready for requests."""

    status: str = "ready"


class VersionReport(_Strict):
    """One version of a model. `reason`: why it is not READY, or why its changed files are not served. `since`: UTC."""

    version: int
    state: ModelState
    reason: str | None
    since: datetime | None
    labels: list[str]


class ModelReport(_Strict):
    """A model. `active`: the version to serve by default; `serving`: the version that is served now.

    `pinned`: an operator has set the active version; otherwise it is the highest.
    """

    name: str
    default: bool
    active: int
    pinned: bool
    serving: int | None
    versions: list[VersionReport]


class NotServed(_Strict):
    """A file or folder in the models folder that is not a valid model, and how to fix it."""

    name: str
    reason: str


class ModelList(_Strict):
    """All models, and the name of the default model."""

    default: str
    models: list[ModelReport]
    not_served: list[NotServed]


class FieldReport(_Strict):
    """One field of a model's spec: its value and the source that decided it."""

    value: object
    decided_by: str


class TuningReport(_Strict):
    """The run plan, the measurements behind it and when they were made (UTC).

    `conclusive`: the result is cached. It is false if other processes used the cores, and is then measured again.
    """

    plan: RunPlan
    level: TuneLevel | None
    reason: str
    measured: list[Measurement]
    measured_at: datetime | None
    conclusive: bool = True


class ModelDetails(ModelReport):
    """A model with the spec of its serving or else active version.

    `runtime`, `tuning` and `samples` are those of its serving version.
    """

    spec: dict[str, FieldReport]
    warnings: list[str]
    providers: list[str]
    runtime: RuntimeChoice | None
    tuning: TuningReport | None
    samples: SampleReport | None


class DefaultBody(_Strict):
    """The model to make the default."""

    name: Annotated[str, Field(max_length=MAX_NAME, examples=["efficientnet-lite0"])]


class VersionBody(_Strict):
    """A version's number, or one of its labels."""

    version: Annotated[int, Field(strict=True, ge=0, le=MAX_NUMBER)] | Annotated[str, Field(pattern=SELECTOR)]


class AddedVersion(_Strict):
    """The version that was added. `sha256`: of its .onnx file."""

    name: str
    version: int
    sha256: str
