"""What a task is: it knows how to read a model's outputs.

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
    """The model answered something that is no answer: NaN, or a shape it did not declare."""


@dataclass(frozen=True, slots=True)
class PredictOptions:
    """What a request may choose; None leaves a choice to the task or to the model's spec.

    `top_k`: at most so many predictions; `threshold`: least score, 0 to 1; `normalize`: embeddings to length 1;
    `encoding`: vectors and tensors as a list of numbers, or as base64 of their little-endian bytes.
    """

    top_k: int | None = None
    threshold: float | None = None
    normalize: bool | None = None
    encoding: Encoding = "list"


class Task(ABC):
    """Reads the outputs of one model. One instance serves many threads at once."""

    @abstractmethod
    def check(self, session: Session) -> None:
        """Raises ModelSpecError when the graph cannot be read by this task."""

    @abstractmethod
    def postprocess(self, outputs: Mapping[str, Tensor], frame: Frame, options: PredictOptions) -> list[Prediction]:
        """The predictions for one picture, best first.

        `outputs` have a batch of one; `frame` tells where the picture lies in the input. Raises InvalidOutputError.
        """


def label_of(labels: Sequence[str], class_id: int) -> str:
    """The class id in words when the model has no label for it."""
    return labels[class_id] if 0 <= class_id < len(labels) else f"class {class_id}"
