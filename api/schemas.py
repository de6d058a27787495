"""The shapes of requests and answers, as /docs and /openapi.json show them."""

from datetime import datetime
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field
from pydantic.config import JsonDict

from api.health import PartStatus
from engine.models.load_attempt import ModelState
from engine.scheduling.run_plan import TuneLevel
from engine.tasks.task import MAX_TOP_K, Encoding
from loaders.repository.model_repository import MAX_NUMBER
from loaders.repository.specs.model_spec import TaskName

MAX_MODELS = 8
# A version's number, or a label.
SELECTOR = r"^[A-Za-z0-9._-]{1,128}$"
Score = Annotated[float, Field(ge=0, le=1)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid")


class InferQuery(_Strict):
    """Every parameter of /infer; another one is an error, so that a misspelling does not go unnoticed."""

    model: Annotated[
        list[Annotated[str, Field(max_length=128)]],
        Field(max_length=MAX_MODELS, description="The model that answers; several each answer; none: the default."),
    ] = []
    version: Annotated[
        list[Annotated[str, Field(pattern=SELECTOR)]],
        Field(max_length=MAX_MODELS, description="Its version or label, one for each model; none: the one serving."),
    ] = []
    top_k: Annotated[int | None, Field(ge=1, le=MAX_TOP_K, description="At most so many predictions.")] = None
    threshold: Annotated[
        float | None, Field(ge=0, le=1, allow_inf_nan=False, description="Only predictions of at least this score.")
    ] = None
    normalize: Annotated[bool | None, Field(description="Embeddings: scaled to length 1.")] = None
    encoding: Annotated[Encoding, Field(description="Embeddings and tensors: numbers, or base64 of float32.")] = "list"


class BatchQuery(InferQuery):
    """As of /infer, for all pictures alike."""

    stream: Annotated[bool, Field(description="Each result as soon as it is ready: NDJSON, a line each.")] = False


class ModelInfo(_Strict):
    name: str
    version: int
    task: TaskName


class ImageDetails(_Strict):
    """The picture as it was sent; width and height are upright, EXIF orientation applied."""

    filename: str | None
    format: str
    width: int
    height: int


class ClassificationPrediction(_Strict):
    """Task image-classification, best first."""

    label: str
    class_id: int
    score: Score


class BoxDetails(_Strict):
    """In the picture's own pixels."""

    xmin: float
    ymin: float
    xmax: float
    ymax: float


class DetectionPrediction(_Strict):
    """Task object-detection, best first. `landmarks` are (x, y) pixels, where the model finds them."""

    label: str
    class_id: int
    score: Score
    box: BoxDetails
    landmarks: list[tuple[float, float]] | None = None


class SegmentPrediction(_Strict):
    """Task image-segmentation. `mask`: a PNG of the picture's size in base64, white where the segment is."""

    label: str
    class_id: int
    score: Score | None
    mask: str
    box: BoxDetails | None = None


class EmbeddingPrediction(_Strict):
    """Task image-feature-extraction. All values are finite, in either encoding."""

    embedding: list[float] | str
    dimensions: int
    encoding: Encoding


class TensorPrediction(_Strict):
    """Task tensor: one output of the graph, row by row. Base64 may hold NaN and infinity, a list never does."""

    name: str
    dtype: str
    shape: list[int]
    data: list[float] | list[int] | list[bool] | str
    encoding: Encoding


Predictions = (
    list[ClassificationPrediction]
    | list[DetectionPrediction]
    | list[SegmentPrediction]
    | list[EmbeddingPrediction]
    | list[TensorPrediction]
)


class TimingsMs(_Strict):
    """Milliseconds; the header Server-Timing and the log have the same figures."""

    decode: float
    preprocess: float
    queue: float
    inference: float
    postprocess: float
    total: float


_TIMINGS_EXAMPLE: JsonDict = {
    "decode": 0.57,
    "preprocess": 0.69,
    "queue": 0.03,
    "inference": 3.76,
    "postprocess": 0.15,
    "total": 5.6,
}


class ModelAnswer(_Strict):
    """What one model says."""

    model: ModelInfo
    predictions: Predictions
    timings_ms: TimingsMs


class InferResponse(ModelAnswer):
    """The answer of one model."""

    image: ImageDetails
    request_id: str

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "model": {"name": "efficientnet-lite0", "version": 1, "task": "image-classification"},
                "image": {"filename": "cat.jpg", "format": "JPEG", "width": 451, "height": 300},
                "predictions": [{"label": "tiger cat", "class_id": 282, "score": 0.38619885}],
                "timings_ms": _TIMINGS_EXAMPLE,
                "request_id": "c5f545c626634c8ba831a90f6c6e3e94",
            }
        }
    )


class InferManyResponse(_Strict):
    """The answers of several models about one picture, in the order they were asked."""

    image: ImageDetails
    results: list[ModelAnswer]
    request_id: str


class ProblemDetails(_Strict):
    """RFC 9457. `code` is for programs, `detail` for people; `request_id` finds the line in the log."""

    type: str
    title: str
    status: int
    detail: str
    code: str
    request_id: str


class ItemProblem(_Strict):
    """What is wrong with one picture: as problem details, whose request id the whole answer has."""

    type: str
    title: str
    status: int
    detail: str
    code: str


class BatchResult(_Strict):
    """What is on the `index`th picture, counted from 0: as /infer answers, or an `error` and nothing else.

    Of several models each one's answer is in `results`.
    """

    index: int
    filename: str | None
    model: ModelInfo | None = None
    image: ImageDetails | None = None
    predictions: Predictions | None = None
    timings_ms: TimingsMs | None = None
    results: list[ModelAnswer] | None = None
    error: ItemProblem | None = None

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "index": 0,
                "filename": "cat.jpg",
                "model": {"name": "efficientnet-lite0", "version": 1, "task": "image-classification"},
                "image": {"filename": "cat.jpg", "format": "JPEG", "width": 451, "height": 300},
                "predictions": [{"label": "tiger cat", "class_id": 282, "score": 0.38619885}],
                "timings_ms": _TIMINGS_EXAMPLE,
            }
        }
    )


class BatchResponse(_Strict):
    """One result for each picture, in their order."""

    results: list[BatchResult]
    request_id: str


class PartReport(_Strict):
    """`reason` says why it is not ok; with ok, what is wrong though it goes on working. `since` is UTC."""

    status: PartStatus
    reason: str | None
    since: datetime | None


class HealthReport(_Strict):
    status: PartStatus
    reason: str | None
    parts: dict[str, PartReport]
    providers: list[str]
    versions: dict[str, str]
    uptime_s: float


class Alive(_Strict):
    status: str = "alive"


class Ready(_Strict):
    status: str = "ready"


class VersionReport(_Strict):
    """`reason` says why it is not READY; with READY, why its newer files are not served. `since` is UTC."""

    version: int
    state: ModelState
    reason: str | None
    since: datetime | None
    labels: list[str]


class ModelReport(_Strict):
    """`active` is the version that shall answer when none is named, `serving` the one that does.

    `pinned`: an operator chose the active version; else it is the highest.
    """

    name: str
    default: bool
    active: int
    pinned: bool
    serving: int | None
    versions: list[VersionReport]


class NotServed(_Strict):
    """A file or folder that looks like a model and is none, and what to do about it."""

    name: str
    reason: str


class ModelList(_Strict):
    default: str
    models: list[ModelReport]
    not_served: list[NotServed]


class FieldReport(_Strict):
    """One field of the spec: its value and what decided it."""

    value: object
    decided_by: str


class RunPlanReport(_Strict):
    """`intra_op_threads`: threads that one run may use, fewest first; a busy machine takes the first.

    `batch`: largest batch of one run. `runs`: batched runs at the same time.
    """

    intra_op_threads: list[int]
    batch: int
    runs: int


class MeasurementReport(_Strict):
    """`runs` runs at the same time, each with `batch` pictures and `threads` intra-op threads; `ms` is a run's median."""

    threads: int
    batch: int
    runs: int
    ms: float
    pictures_per_s: float


class TuningReport(_Strict):
    """How the model runs on this machine and what decided it; `measured_at` is UTC, null where nothing was measured.

    `conclusive`: it is remembered; false when others were busy on the cores, so that it is measured again.
    """

    plan: RunPlanReport
    level: TuneLevel | None
    reason: str
    measured: list[MeasurementReport]
    measured_at: datetime | None
    conclusive: bool = True


class ModelDetails(ModelReport):
    """The spec is that of the version serving, or of the active one; `tuning` of the one serving."""

    spec: dict[str, FieldReport]
    warnings: list[str]
    providers: list[str]
    tuning: TuningReport | None


class DefaultBody(_Strict):
    name: Annotated[str, Field(max_length=128)]


class VersionBody(_Strict):
    """A version's number or a label."""

    version: Annotated[int, Field(strict=True, ge=0, le=MAX_NUMBER)] | Annotated[str, Field(pattern=SELECTOR)]


class AddedVersion(_Strict):
    name: str
    version: int
    sha256: str
