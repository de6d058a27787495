"""Predictions of the tasks: dataclasses with Hugging Face's field names, which orjson serialises."""

from dataclasses import dataclass
from typing import Literal

Point = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Classification:
    """`score` is 0 to 1, after softmax or sigmoid. `label` is "class <id>" if the model has no labels."""

    label: str
    class_id: int
    score: float


@dataclass(frozen=True, slots=True)
class Box:
    """In pixels of the original picture, rounded to hundredths; its right and bottom borders are width and height."""

    xmin: float
    ymin: float
    xmax: float
    ymax: float


def iou(one: Box, other: Box) -> float:
    """Intersection over union."""
    width = min(one.xmax, other.xmax) - max(one.xmin, other.xmin)
    height = min(one.ymax, other.ymax) - max(one.ymin, other.ymin)
    shared = max(0.0, width) * max(0.0, height)
    both = sum((box.xmax - box.xmin) * (box.ymax - box.ymin) for box in (one, other)) - shared
    return shared / both if both > 0 else 0.0


@dataclass(frozen=True, slots=True)
class Detection:
    """`score` is 0 to 1."""

    label: str
    class_id: int
    score: float
    box: Box


@dataclass(frozen=True, slots=True)
class FaceDetection(Detection):
    """`landmarks`: (x, y) of the right eye, the left eye, the nose, and the mouth's right and left corner."""

    landmarks: tuple[Point, ...]


@dataclass(frozen=True, slots=True)
class OrientedDetection(Detection):
    """A rotated box: four `corners` in the picture's pixels, which may lie outside it; `angle` in radians, clockwise.

    `box` encloses the corners inside the picture.
    """

    corners: tuple[Point, ...]
    angle: float


@dataclass(frozen=True, slots=True)
class Keypoint:
    """In pixels of the original picture. `score` is None if the model gives no score for a keypoint."""

    name: str
    x: float
    y: float
    score: float | None


@dataclass(frozen=True, slots=True)
class KeypointDetection(Detection):
    """`skeleton`: pairs of keypoints to connect, counted from 0."""

    keypoints: tuple[Keypoint, ...]
    skeleton: tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True)
class Segment:
    """`mask`: base64 of an 8-bit grey PNG of the original picture's size, 255 inside the segment and 0 outside.

    A matte has values in between. `score` is None if the model gives no score for a segment.
    """

    label: str
    class_id: int
    score: float | None
    mask: str


@dataclass(frozen=True, slots=True)
class InstanceSegment(Segment):
    """One object and its bounding box."""

    box: Box


@dataclass(frozen=True, slots=True)
class Embedding:
    """`embedding`: `dimensions` numbers, or base64 of as many little-endian float32."""

    embedding: list[float] | str
    dimensions: int
    encoding: Literal["list", "base64"]


@dataclass(frozen=True, slots=True)
class OutputTensor:
    """One output of the graph: `data` as a flat list in C order, or base64 of the little-endian bytes.

    `dtype`: its NumPy name. `shape`: includes the batch of one.
    """

    name: str
    dtype: str
    shape: list[int]
    data: list[float] | list[int] | list[bool] | str
    encoding: Literal["list", "base64"]


@dataclass(frozen=True, slots=True)
class DepthMap:
    """`depth`: base64 of a 16-bit grey PNG of the original picture's size; 0 is `minimum` and 65535 is `maximum`.

    These are in the model's unit: metres, or a relative depth or inverse depth.
    """

    depth: str
    minimum: float
    maximum: float


@dataclass(frozen=True, slots=True)
class DepthMapWithValues(DepthMap):
    """`predicted_depth`: float32 values of shape (height, width)."""

    predicted_depth: OutputTensor


@dataclass(frozen=True, slots=True)
class GeneratedText:
    """`score` is the mean of the characters' scores, 0 to 1; 0 without characters."""

    generated_text: str
    score: float


Prediction = Classification | Detection | Segment | Embedding | DepthMap | GeneratedText | OutputTensor
