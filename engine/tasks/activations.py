"""Activations: logits to scores from 0 to 1."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from loaders.repository.specs.model_spec import Activation

Scores = NDArray[np.float32]


def softmax(logits: Scores) -> Scores:
    """Over the last axis."""
    with np.errstate(all="ignore"):  # the task checks for NaN and infinity
        exponentials = np.exp(logits - logits.max(axis=-1, keepdims=True))
        return np.asarray(exponentials / exponentials.sum(axis=-1, keepdims=True), np.float32)


def sigmoid(logits: Scores) -> Scores:
    """Computed by tanh, which does not overflow."""
    return np.asarray(0.5 * (1.0 + np.tanh(0.5 * logits)), np.float32)


def _identity(scores: Scores) -> Scores:
    return scores


ACTIVATIONS: dict[Activation, Callable[[Scores], Scores]] = {
    Activation.NONE: _identity,
    Activation.SOFTMAX: softmax,
    Activation.SIGMOID: sigmoid,
}
