"""Predictions of each task, as /docs and /openapi.json show them."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from engine.tasks.task import Encoding

Score = Annotated[float, Field(ge=0, le=1)]


class Strict(BaseModel):
    """The base of all schemas: unknown fields are errors."""

    model_config = ConfigDict(extra="forbid")


class ClassificationPrediction(Strict):
    """image-classification: a label and its score. Sorted by score, highest first."""

    label: str
    class_id: int
    score: Score


class BoxDetails(Strict):
    """A box in pixels of the picture as sent, after EXIF rotation."""

    xmin: float
    ymin: float
    xmax: float
    ymax: float


class DetectionPrediction(Strict):
    """object-detection: an object and its box. Sorted by score, highest first.

    `landmarks`: (x, y) points in pixels, from models that predict them. `corners` and `angle` (radians, clockwise): of
    a rotated box, which `box` encloses.
    """

    label: str
    class_id: int
    score: Score
    box: BoxDetails
    landmarks: list[tuple[float, float]] | None = None
    corners: list[tuple[float, float]] | None = None
    angle: float | None = None


class KeypointDetails(Strict):
    """A point in pixels of the picture as sent, after EXIF rotation."""

    name: str
    x: float
    y: float
    score: float | None


class KeypointPrediction(Strict):
    """keypoint-detection: an object with named points. Sorted by score, highest first.

    `skeleton`: pairs of keypoints to connect, counted from 0.
    """

    label: str
    class_id: int
    score: Score
    box: BoxDetails
    keypoints: list[KeypointDetails]
    skeleton: list[tuple[int, int]]


class SegmentPrediction(Strict):
    """image-segmentation: a segment. `mask`: PNG of the picture's size in base64; the segment is white."""

    label: str
    class_id: int
    score: Score | None
    mask: str
    box: BoxDetails | None = None


class EmbeddingPrediction(Strict):
    """image-feature-extraction: a vector of finite float32 values, as a list or in base64."""

    embedding: list[float] | str
    dimensions: int
    encoding: Encoding


class TensorPrediction(Strict):
    """tensor: one raw output of the graph, flattened in row-major order. NaN and infinity appear in base64 only."""

    name: str
    dtype: str
    shape: list[int]
    data: list[float] | list[int] | list[bool] | str
    encoding: Encoding


class DepthPrediction(Strict):
    """depth-estimation. `depth`: 16-bit grey PNG of the picture's size in base64; 0 is `minimum`, 65535 is `maximum`.

    `predicted_depth`: on request, the values in the model's unit, of shape (height, width).
    """

    depth: str
    minimum: float
    maximum: float
    predicted_depth: TensorPrediction | None = None


class TextPrediction(Strict):
    """image-to-text: the line of text in the picture. `score`: mean of its characters' scores."""

    generated_text: str
    score: Score


Predictions = (
    list[ClassificationPrediction]
    | list[DetectionPrediction]
    | list[KeypointPrediction]
    | list[SegmentPrediction]
    | list[EmbeddingPrediction]
    | list[DepthPrediction]
    | list[TextPrediction]
    | list[TensorPrediction]
)
