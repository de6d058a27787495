"""What a heat map explains: a label, a box, a segment or a similarity, and its score in the outputs of a run."""

import base64
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches

import numpy as np
from numpy.typing import NDArray

from engine.models.loaded_model import LoadedModel
from engine.preprocessing.geometry import Frame
from engine.tasks.image_classification import ImageClassification
from engine.tasks.masks import from_png
from engine.tasks.outputs import Array, shortest
from engine.tasks.predictions import Box, Detection, Embedding, Segment, iou
from engine.tasks.task import PredictOptions, Task, label_of
from loaders.images.base import Size
from loaders.repository.specs.model_spec import TaskName
from loaders.tensors import Tensor

Outputs = Mapping[str, Tensor]
Score = Callable[[Outputs], float]

# Boxes below the model's own threshold count, so that a score can fall gradually.
_FAINT = PredictOptions(threshold=0.01)
_UNIT_VECTOR = PredictOptions(normalize=True, encoding="base64")
_SHOWN_LABELS = 5


class ExplainError(Exception):
    """The request names no target of this model and picture. The message says what there is."""


@dataclass(frozen=True, slots=True)
class TargetQuery:
    """The target that a request names; without label and class id the best prediction. `box`: in picture pixels."""

    label: str | None = None
    class_id: int | None = None
    box: Box | None = None

    def matches(self, label: str, class_id: int) -> bool:
        return self.label in (None, label) and self.class_id in (None, class_id)

    def check_inside(self, picture: Size) -> None:
        """Raises ExplainError for a box that is not inside the picture, or without area."""
        box = self.box
        if box and not (0 <= box.xmin < box.xmax <= picture.width and 0 <= box.ymin < box.ymax <= picture.height):
            raise ExplainError(
                f"box={box.xmin:g},{box.ymin:g},{box.xmax:g},{box.ymax:g} is not a box inside the picture, which has "
                f"{picture.width} x {picture.height} pixels: give xmin,ymin,xmax,ymax with xmin < xmax and ymin < ymax."
            )

    def __str__(self) -> str:
        named = (("label", self.label), ("class_id", self.class_id))
        return ", ".join(f"{name}={value}" for name, value in named if value is not None)


@dataclass(frozen=True, slots=True)
class Target:
    """`score`: that of the whole picture. Label and class id are None for a similarity."""

    label: str | None
    class_id: int | None
    score: float
    box: Box | None = None


def check_explainable(task: TaskName, query: TargetQuery, *, with_reference: bool) -> None:
    """Raises ExplainError for what no picture can change."""
    if task not in _FINDERS and task is not TaskName.IMAGE_FEATURE_EXTRACTION:
        explainable = ", ".join((*_FINDERS, TaskName.IMAGE_FEATURE_EXTRACTION))
        raise ExplainError(f"A model for {task} cannot be explained; these tasks can: {explainable}.")
    if task is TaskName.IMAGE_FEATURE_EXTRACTION:
        if not with_reference:
            raise ExplainError(
                "Embeddings are explained by their similarity to a second picture; "
                "send it as the form field 'reference'."
            )
        if query != TargetQuery():
            raise ExplainError("Embeddings have no labels and boxes; leave out label, class_id and box.")
    elif with_reference:
        raise ExplainError(f"The form field 'reference' is for embeddings; this model's task is {task}.")
    if query.box and task not in _WITH_BOXES:
        raise ExplainError(f"box is for models that detect objects; this model's task is {task}.")


def find_target(model: LoadedModel, outputs: Outputs, frame: Frame, query: TargetQuery) -> tuple[Target, Score]:
    """The target, and the function that finds its score in the outputs of a run. Raises ExplainError."""
    labels = model.spec.labels
    if query.label is not None and labels and query.label not in labels:
        close = get_close_matches(query.label, set(labels), _SHOWN_LABELS)
        remedy = f"did you mean {_listed(close)}?" if close else "take one from an answer of /infer, or give class_id."
        raise ExplainError(f"The model has no label {query.label!r}; {remedy}")
    return _FINDERS[model.ref.task](model, outputs, frame, query)


def similarity(task: Task, frame: Frame, reference: Outputs) -> Score:
    """The cosine similarity to the vector in the outputs `reference`."""

    def vector(outputs: Outputs) -> Array:
        [embedding] = task.postprocess(outputs, frame, _UNIT_VECTOR)
        assert isinstance(embedding, Embedding)  # noqa: S101 - for mypy
        assert isinstance(embedding.embedding, str)  # noqa: S101 - for mypy
        return np.frombuffer(base64.b64decode(embedding.embedding), "<f4")

    other = vector(reference)
    return lambda outputs: float(vector(outputs) @ other)


def _find_class(model: LoadedModel, outputs: Outputs, _: Frame, query: TargetQuery) -> tuple[Target, Score]:
    """Of several classes with one label, the best."""
    task, labels = model.task, model.spec.labels
    assert isinstance(task, ImageClassification)  # noqa: S101 - for mypy
    scores = task.scores(outputs)
    matching = [i for i in range(len(scores)) if query.matches(label_of(labels, i), i)]
    if not matching:
        raise ExplainError(f"The model has no class with {query}; class ids are 0 to {len(scores) - 1}.")
    best = max(matching, key=scores.__getitem__)
    return Target(label_of(labels, best), best, shortest(scores[best])), lambda other: float(task.scores(other)[best])


def _find_box(model: LoadedModel, outputs: Outputs, frame: Frame, query: TargetQuery) -> tuple[Target, Score]:
    """A score is that of a box times its overlap (IoU) with the target's box, the best within the class."""

    def detect(outputs: Outputs) -> list[Detection]:
        found = model.task.postprocess(outputs, frame, _FAINT)
        return [detection for detection in found if isinstance(detection, Detection)]

    named = query != TargetQuery()
    least = 0.0 if named else model.spec.score_threshold
    found = [one for one in detect(outputs) if one.score >= least]
    matching = [one for one in found if query.matches(one.label, one.class_id)]
    if query.box:
        box = query.box
        matching = sorted(
            (one for one in matching if iou(one.box, box)), key=lambda one: -one.score * iou(one.box, box)
        )
    if not matching:
        raise ExplainError(_not_found(query, [one.label for one in found]))
    class_id, box = matching[0].class_id, query.box or matching[0].box

    def score(outputs: Outputs) -> float:
        return max((one.score * iou(one.box, box) for one in detect(outputs) if one.class_id == class_id), default=0.0)

    return Target(matching[0].label, class_id, score(outputs), box), score


def _find_segment(model: LoadedModel, outputs: Outputs, frame: Frame, query: TargetQuery) -> tuple[Target, Score]:
    """A score is that of a segment, 1 if it has none, times the overlap (IoU) of its mask with the target's."""
    picture, resized = frame.picture, frame.placement.resized
    size = min(picture, resized, key=lambda size: size.pixels)  # masks in the input's resolution take less time
    small = Frame(size, frame.placement, frame.target)

    def segments(outputs: Outputs) -> list[Segment]:
        found = model.task.postprocess(outputs, small, PredictOptions())
        return [segment for segment in found if isinstance(segment, Segment)]

    found = segments(outputs)
    matching = [one for one in found if query.matches(one.label, one.class_id)]
    if not matching:
        raise ExplainError(_not_found(query, [one.label for one in found]))
    class_id, mask = matching[0].class_id, from_png(matching[0].mask)

    def score(outputs: Outputs) -> float:
        same = (one for one in segments(outputs) if one.class_id == class_id)
        scores = (_or_one(one.score) * _mask_iou(from_png(one.mask), mask) for one in same)
        return max(scores, default=0.0)

    return Target(matching[0].label, class_id, score(outputs)), score


_FINDERS: dict[TaskName, Callable[[LoadedModel, Outputs, Frame, TargetQuery], tuple[Target, Score]]] = {
    TaskName.IMAGE_CLASSIFICATION: _find_class,
    TaskName.OBJECT_DETECTION: _find_box,
    TaskName.KEYPOINT_DETECTION: _find_box,
    TaskName.IMAGE_SEGMENTATION: _find_segment,
}
_WITH_BOXES = (TaskName.OBJECT_DETECTION, TaskName.KEYPOINT_DETECTION)


def _mask_iou(one: NDArray[np.uint8], other: NDArray[np.uint8]) -> float:
    """Of soft masks: the sum of the minima over that of the maxima."""
    whole = int(np.maximum(one, other).sum(dtype=np.int64))
    return int(np.minimum(one, other).sum(dtype=np.int64)) / whole if whole else 0.0


def _or_one(score: float | None) -> float:
    return 1.0 if score is None else score


def _not_found(query: TargetQuery, labels: Sequence[str]) -> str:
    what = f"Nothing with {query}" if str(query) else "Nothing"
    where = "in this box" if query.box else "in the picture"
    there = _listed(list(dict.fromkeys(labels))[:_SHOWN_LABELS])
    remedy = f"the model finds {there}." if there else "name a label and a box to explain a fainter one."
    return f"{what} was found {where}; {remedy}"


def _listed(labels: Sequence[str]) -> str:
    return ", ".join(repr(label) for label in labels)
