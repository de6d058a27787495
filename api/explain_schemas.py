"""Requests and responses of /explain, as /docs and /openapi.json show them."""

from typing import Literal

from pydantic import ConfigDict, Field

from api.prediction_schemas import BoxDetails, Strict
from api.schemas import ANSWER_EXAMPLE, MAX_NAME, SELECTOR, ImageDetails, ModelInfo, TimingsMs
from engine.explain.explainer import MAX_SAMPLES, Method
from loaders.repository.model_repository import MAX_NUMBER

_MAX_LABEL = 512
_PIXELS = r"\d{1,9}(\.\d{1,9})?"
_BOX = rf"^{_PIXELS}(,{_PIXELS}){{3}}$"


class ExplainQuery(Strict):
    """Query parameters of /explain. Unknown parameters are rejected."""

    model: str | None = Field(
        None, max_length=MAX_NAME, description="Name of a model in GET /models; default: the default model."
    )
    version: str | None = Field(
        None, pattern=SELECTOR, description="Version number or label; default: the active version."
    )
    method: Method = Field(
        Method.OCCLUSION, description="occlusion: about 100 runs; rise: random masks, as many as `samples`."
    )
    label: str | None = Field(
        None,
        max_length=_MAX_LABEL,
        examples=["tiger cat"],
        description="Label to explain; default: the best prediction.",
    )
    class_id: int | None = Field(None, ge=0, le=MAX_NUMBER, description="Class to explain, instead of `label`.")
    box: str | None = Field(
        None,
        pattern=_BOX,
        examples=["12,30,310,280"],
        description="Box to explain, as xmin,ymin,xmax,ymax in pixels of the picture; default: the best one.",
    )
    samples: int = Field(300, ge=1, le=MAX_SAMPLES, description="Random masks of method rise.")
    seed: int = Field(0, ge=0, le=MAX_NUMBER, description="Seed of the random masks.")


class TargetDetails(Strict):
    """What is explained, and its score in the whole picture. Embeddings have no label; detections have a box."""

    label: str | None
    class_id: int | None
    score: float
    box: BoxDetails | None = None


class PixelDetails(Strict):
    """A pixel of the picture as sent, after EXIF rotation."""

    x: int
    y: int


class ExplanationDetails(Strict):
    """A heat map, and how it was made. `complete` is false if the deadline came before the last run.

    `heatmap`: 8-bit grey PNG of the picture's size in base64; 0 is a value of 0 or below, 255 is `maximum`. A value is
    the change of the target's score by showing this part of the picture. `fill`: what replaces hidden parts. `passes`:
    runs of the model. `seed`: null for occlusion, which has nothing random.
    """

    target: TargetDetails
    method: Method
    fill: Literal["blur"]
    passes: int
    seed: int | None
    complete: bool
    heatmap: str
    minimum: float
    maximum: float
    peak: PixelDetails


class ExplainResponse(Strict):
    """The heat map of one model for one picture. `timings_ms`: the sum of all runs."""

    model: ModelInfo
    image: ImageDetails
    explanation: ExplanationDetails
    timings_ms: TimingsMs
    request_id: str

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "model": ANSWER_EXAMPLE["model"],
                "image": ANSWER_EXAMPLE["image"],
                "explanation": {
                    "target": {"label": "tiger cat", "class_id": 282, "score": 0.38619885},
                    "method": "occlusion",
                    "fill": "blur",
                    "passes": 98,
                    "seed": None,
                    "complete": True,
                    "heatmap": "iVBORw0KGgo...",
                    "minimum": -0.05,
                    "maximum": 0.31,
                    "peak": {"x": 210, "y": 90},
                },
                "timings_ms": {
                    "decode": 0.6, "preprocess": 31, "queue": 4.2, "inference": 380, "postprocess": 6.1, "total": 430
                },
                "request_id": "c5f545c626634c8ba831a90f6c6e3e94",
            }
        }
    )  # fmt: skip
