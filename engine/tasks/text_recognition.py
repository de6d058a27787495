"""Image to text: the line of text in a picture, by a recogniser that was trained with CTC."""

from collections.abc import Mapping

import numpy as np

from engine.preprocessing.geometry import Frame
from engine.tasks.activations import ACTIVATIONS
from engine.tasks.outputs import check_labels, find_outputs, read_outputs, shortest
from engine.tasks.predictions import GeneratedText, Prediction
from engine.tasks.task import PredictOptions, Task
from loaders.model_errors import ModelSpecError
from loaders.repository.specs.model_spec import ModelSpec
from loaders.runtimes.base import Session
from loaders.tensors import Tensor

_STEPS = (3,)  # ranks: one output (N, T, C)
_BLANK = 0  # the class between characters


class TextRecognition(Task):
    """Greedy decoding as in PaddleOCR: the best class of each step, without blanks and repeats.

    Labels are the characters by class id; the first stands for the blank.
    """

    def __init__(self, spec: ModelSpec) -> None:
        if not spec.labels:
            raise ModelSpecError("text recognition needs labels: a blank, and then the characters by class id")
        self._spec = spec
        self._activate = ACTIVATIONS[spec.activation]

    def check(self, session: Session) -> None:
        (output,) = find_outputs(session, self._spec.outputs, _STEPS)
        check_labels(self._spec.labels, output.shape[2] if output.shape else None)

    def postprocess(
        self,
        outputs: Mapping[str, Tensor],
        frame: Frame,  # noqa: ARG002 - a text has no position
        options: PredictOptions,
    ) -> list[Prediction]:
        (steps,) = read_outputs(outputs, self._spec.outputs, _STEPS)
        scores = self._activate(steps[0])
        best = scores.argmax(axis=1)
        is_new = np.concatenate([[True], best[1:] != best[:-1]])
        kept = np.flatnonzero(is_new & (best != _BLANK))
        text = "".join(self._spec.labels[i] for i in best[kept] if i < len(self._spec.labels))
        score = np.float32(scores.max(axis=1)[kept].mean()) if len(kept) else np.float32(0)
        return [GeneratedText(text, shortest(score))] if score >= (options.threshold or 0) else []
