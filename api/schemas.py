"""The shapes of requests and answers, as /docs and /openapi.json show them."""

from datetime import datetime
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from api.health import PartStatus
from engine.tasks.task import MAX_TOP_K
from loaders.model_spec import TaskName


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid")


class InferQuery(_Strict):
    """Every parameter of /infer; another one is an error, so that a misspelling does not go unnoticed."""

    model: Annotated[str | None, Field(description="The model that answers; without it the default.")] = None
    version: Annotated[
        int | None, Field(ge=0, le=2**53, description="Its version; without it the one being served.")
    ] = None
    top_k: Annotated[int | None, Field(ge=1, le=MAX_TOP_K, description="At most so many predictions.")] = None
    threshold: Annotated[
        float, Field(ge=0, le=1, allow_inf_nan=False, description="Only predictions of at least this score.")
    ] = 0.0


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
    label: str
    class_id: int
    score: Annotated[float, Field(ge=0, le=1)]


class TimingsMs(_Strict):
    """Milliseconds; the header Server-Timing and the log have the same figures."""

    decode: float
    preprocess: float
    queue: float
    inference: float
    postprocess: float
    total: float


class InferResponse(_Strict):
    model: ModelInfo
    image: ImageDetails
    predictions: list[ClassificationPrediction]
    timings_ms: TimingsMs
    request_id: str

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "model": {"name": "efficientnet-lite0", "version": 1, "task": "image-classification"},
                "image": {"filename": "cat.jpg", "format": "JPEG", "width": 451, "height": 300},
                "predictions": [{"label": "Egyptian cat", "class_id": 285, "score": 0.4143}],
                "timings_ms": {
                    "decode": 1.2,
                    "preprocess": 1.4,
                    "queue": 0.1,
                    "inference": 12.1,
                    "postprocess": 0.1,
                    "total": 15.2,
                },
                "request_id": "b7c1f2a09c3d4f0e8a55d1d2b1a3c4e5",
            }
        }
    )


class ProblemDetails(_Strict):
    """RFC 9457. `code` is for programs, `detail` for people; `request_id` finds the line in the log."""

    type: str
    title: str
    status: int
    detail: str
    code: str
    request_id: str


class PartReport(_Strict):
    status: PartStatus
    reason: str | None
    since: datetime


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


Example = dict[str, Any]
