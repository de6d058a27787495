"""The base class of tasks, and the options of a request.

A new task is one file, and one line in `engine/tasks/__init__.py`.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from engine.preprocessing.geometry import Frame
from engine.tasks.predictions import Classification, Prediction
from loaders.runtimes.base import Session
from loaders.tensors import Tensor

__all__ = [
    "DEFAULT_TOP_K",
    "MAX_TOP_K",
    "Classification",
    "Encoding",
    "InvalidOutputError",
    "PredictOptions",
    "Prediction",
    "Task",
    "label_of",
]

MAX_TOP_K = 1000
DEFAULT_TOP_K = 5

Encoding = Literal["list", "base64"]


class InvalidOutputError(Exception):
    """Raised for outputs with NaN or infinity, or of a shape that the task cannot read."""


@dataclass(frozen=True, slots=True)
class PredictOptions:
    """Options of a request; None means the default of the task or of the model's spec.

    `top_k`: maximum number of predictions; `threshold`: minimum score, 0 to 1; `normalize`: embeddings to length 1;
    `encoding`: vectors and tensors as a list of numbers, or as base64 of their little-endian bytes;
    `predicted_depth`: return the values of a depth map, too.
    """

    top_k: int | None = None
    threshold: float | None = None
    normalize: bool | None = None
    encoding: Encoding = "list"
    predicted_depth: bool = False


class Task(ABC):
    """Turns the outputs of one model into predictions. May be used from many threads."""

    @abstractmethod
    def check(self, session: Session) -> None:
        """Raises ModelSpecError if this task cannot read the outputs of the graph."""

    @abstractmethod
    def postprocess(self, outputs: Mapping[str, Tensor], frame: Frame, options: PredictOptions) -> list[Prediction]:
        """The predictions for one picture, best first.

        `outputs` have a batch of one; `frame`: the picture's position in the input. Raises InvalidOutputError.
        """


def label_of(labels: Sequence[str], class_id: int) -> str:
    """The label, or "class <id>" if the model has none."""
    return labels[class_id] if 0 <= class_id < len(labels) else f"class {class_id}"
