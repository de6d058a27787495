"""What a task is: it knows how to read a model's outputs.

A new task is one file, and one line in `engine/tasks/__init__.py`.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass

from loaders.model_loader import Session, Tensor

MAX_TOP_K = 1000
DEFAULT_TOP_K = 5


class InvalidOutputError(Exception):
    """The model answered something that is no answer: NaN, or a shape it did not declare."""


@dataclass(frozen=True, slots=True)
class PredictOptions:
    """What a request may choose. `top_k`: at most so many predictions; `threshold`: least score, 0 to 1."""

    top_k: int = DEFAULT_TOP_K
    threshold: float = 0.0


@dataclass(frozen=True, slots=True)
class Classification:
    """`score` is 0 to 1 after softmax or sigmoid. `label` is the class id in words when the model has no labels."""

    label: str
    class_id: int
    score: float


Prediction = Classification


class Task(ABC):
    """Reads the outputs of one model. One instance serves many threads at once."""

    @abstractmethod
    def check(self, session: Session) -> None:
        """Raises ModelSpecError when the graph cannot be read by this task."""

    @abstractmethod
    def postprocess(self, outputs: Mapping[str, Tensor], options: PredictOptions) -> list[Prediction]:
        """The predictions for one picture, best first. Raises InvalidOutputError."""
