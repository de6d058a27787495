"""Image classification: single-label (softmax) and multi-label (sigmoid)."""

from collections.abc import Mapping

import numpy as np

from engine.preprocessing.geometry import Frame
from engine.tasks.activations import ACTIVATIONS, Scores
from engine.tasks.outputs import as_float32, check_finite, check_labels, find_output, shortest
from engine.tasks.predictions import Classification, Prediction
from engine.tasks.task import DEFAULT_TOP_K, PredictOptions, Task, label_of
from loaders.repository.specs.model_spec import ModelSpec
from loaders.runtimes.base import Session
from loaders.tensors import Tensor


class ImageClassification(Task):
    def __init__(self, spec: ModelSpec) -> None:
        self._outputs = spec.outputs
        self._labels = spec.labels
        self._activate = ACTIVATIONS[spec.activation]

    def check(self, session: Session) -> None:
        shape = find_output(session, self._outputs).shape
        check_labels(self._labels, shape[-1] if shape else None)

    def postprocess(
        self,
        outputs: Mapping[str, Tensor],
        frame: Frame,  # noqa: ARG002 - a class has no position
        options: PredictOptions,
    ) -> list[Prediction]:
        scores = self.scores(outputs)
        return [self._prediction(i, scores) for i in _best(scores, options)]

    def scores(self, outputs: Mapping[str, Tensor]) -> Scores:
        """The score of each class. Raises InvalidOutputError."""
        logits = outputs[self._outputs[0]] if self._outputs else next(iter(outputs.values()))
        scores = self._activate(as_float32(logits.reshape(-1)))
        check_finite(scores)
        return scores

    def _prediction(self, class_id: int, scores: Scores) -> Classification:
        return Classification(label_of(self._labels, class_id), class_id, shortest(scores[class_id]))


def _best(scores: Scores, options: PredictOptions) -> list[int]:
    """Class ids by descending score; equal scores by ascending id. Only candidates for the top k are sorted."""
    top_k = DEFAULT_TOP_K if options.top_k is None else options.top_k
    lowest = -np.inf if options.threshold is None else options.threshold  # values of a regression may be negative
    if top_k < len(scores):
        lowest = max(lowest, np.partition(scores, -top_k)[-top_k])
    found = np.flatnonzero(scores >= lowest)
    order: list[int] = found[np.argsort(-scores[found], kind="stable")[:top_k]].tolist()
    return order
