"""What the tasks answer: plain data with Hugging Face's field names, which orjson writes as it is."""

from dataclasses import dataclass
from typing import Literal

Point = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Classification:
    """`score` is 0 to 1 after softmax or sigmoid. `label` is the class id in words when the model has no labels."""

    label: str
    class_id: int
    score: float


@dataclass(frozen=True, slots=True)
class Box:
    """In the original picture's pixels, hundredths of them; its right and bottom borders are width and height."""

    xmin: float
    ymin: float
    xmax: float
    ymax: float


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
class Segment:
    """`mask`: a PNG in base64, 8-bit grey of the original picture's size, 255 where the segment is and 0 elsewhere.

    A matte's mask has the values between, too. `score` is None where a model gives none for a whole segment.
    """

    label: str
    class_id: int
    score: float | None
    mask: str


@dataclass(frozen=True, slots=True)
class InstanceSegment(Segment):
    """One object of its class, and the box around it."""

    box: Box


@dataclass(frozen=True, slots=True)
class Embedding:
    """`embedding`: `dimensions` numbers, or base64 of as many little-endian float32."""

    embedding: list[float] | str
    dimensions: int
    encoding: Literal["list", "base64"]


@dataclass(frozen=True, slots=True)
class OutputTensor:
    """One output of the graph: `data` row by row as a flat list, or base64 of its little-endian bytes.

    `dtype` in NumPy's words; `shape` as the graph gave it, the batch of one included.
    """

    name: str
    dtype: str
    shape: list[int]
    data: list[float] | list[int] | list[bool] | str
    encoding: Literal["list", "base64"]


Prediction = Classification | Detection | Segment | Embedding | OutputTensor
