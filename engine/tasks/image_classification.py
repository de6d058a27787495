"""Scores of classes -> labels, best first: single-label (softmax) and multi-label (sigmoid)."""

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

from engine.tasks.task import Classification, InvalidOutputError, Prediction, PredictOptions, Task
from loaders.model_errors import ModelSpecError
from loaders.model_loader import Session, Tensor, TensorInfo
from loaders.model_spec import Activation, ModelSpec

Scores = NDArray[np.float32]


class ImageClassification(Task):
    def __init__(self, spec: ModelSpec) -> None:
        self._output = spec.output
        self._labels = spec.labels
        self._activate = _ACTIVATIONS[spec.activation]

    def check(self, session: Session) -> None:
        classes = self._classes(session)
        if self._labels and classes is not None and len(self._labels) != classes:
            raise ModelSpecError(f"{len(self._labels)} labels, but the graph has {classes} classes")

    def postprocess(self, outputs: Mapping[str, Tensor], options: PredictOptions) -> list[Prediction]:
        logits = outputs[self._output] if self._output else next(iter(outputs.values()))
        with np.errstate(all="ignore"):  # the check below speaks for every NaN and infinity
            scores = self._activate(logits.reshape(-1).astype(np.float32, copy=False))
        if not np.isfinite(scores).all():
            raise InvalidOutputError("the model's scores are not finite numbers")
        return [self._prediction(i, scores) for i in _best(scores, options)]

    def _prediction(self, class_id: int, scores: Scores) -> Classification:
        label = self._labels[class_id] if class_id < len(self._labels) else f"class {class_id}"
        return Classification(label, class_id, _shortest(scores[class_id]))

    def _classes(self, session: Session) -> int | None:
        """The size of the output's last dimension, None when the graph leaves it open."""
        shape = self._find(session).shape
        return shape[-1] if shape else None

    def _find(self, session: Session) -> TensorInfo:
        named = [o for o in session.outputs if self._output in (None, o.name)]
        if not named:
            raise ModelSpecError(
                f"the graph has no output {self._output!r}; it has: {', '.join(o.name for o in session.outputs)}"
            )
        return named[0]


def _best(scores: Scores, options: PredictOptions) -> list[int]:
    """Class ids by falling score; equal scores by rising id."""
    order = np.argsort(-scores, kind="stable")[: options.top_k]
    return [int(i) for i in order if scores[i] >= options.threshold]


def _shortest(score: np.float32) -> float:
    """The shortest decimal that still names this float32: 0.8331, not 0.8331000208854675."""
    return float(str(score))


def _softmax(logits: Scores) -> Scores:
    exponentials = np.exp(logits - logits.max())
    return np.asarray(exponentials / exponentials.sum(), np.float32)


def _sigmoid(logits: Scores) -> Scores:
    """Written with tanh, which does not overflow."""
    return np.asarray(0.5 * (1.0 + np.tanh(0.5 * logits)), np.float32)


def _identity(scores: Scores) -> Scores:
    return scores


_ACTIVATIONS: dict[Activation, Callable[[Scores], Scores]] = {
    Activation.NONE: _identity,
    Activation.SOFTMAX: _softmax,
    Activation.SIGMOID: _sigmoid,
}
