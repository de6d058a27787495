"""Texts from CTC outputs, as PaddleOCR's CTCLabelDecode reads them."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from engine.tasks.predictions import GeneratedText, Prediction
from engine.tasks.task import PredictOptions
from loaders.images.base import Size
from loaders.repository.specs.model_spec import Activation, ModelSpec, Resize, TaskName
from tests.engine.tasks.graphs import answer, frame_of

LABELS = ("", "a", "b", " ")


def read(
    folder: Path, steps: Sequence[int], scores: Sequence[float], threshold: float | None = None
) -> list[Prediction]:
    """`steps`: the best class of each step, with its score."""
    output = np.zeros((1, len(steps), len(LABELS)), np.float32)
    output[0, np.arange(len(steps)), steps] = scores
    spec = ModelSpec(task=TaskName.IMAGE_TO_TEXT, labels=LABELS, activation=Activation.NONE)
    frame, options = frame_of(Size(100, 20), Resize.STRETCH), PredictOptions(threshold=threshold)
    return answer(folder, {"softmax": output}, spec, frame, options)


@pytest.mark.parametrize(
    ("steps", "text"),
    [
        ([1, 1, 2, 2, 2], "ab"),
        ([0, 1, 0, 1, 0], "aa"),
        ([1, 3, 0, 2], "a b"),
        ([0, 0, 0, 0], ""),
    ],
)
def test_repeats_and_blanks_are_dropped(tmp_path: Path, steps: list[int], text: str) -> None:
    (found,) = read(tmp_path, steps, [0.9] * len(steps))
    assert isinstance(found, GeneratedText)
    assert found.generated_text == text
    assert found.score == pytest.approx(0.9 if text else 0)


def test_score_is_the_mean_of_the_first_step_of_each_character(tmp_path: Path) -> None:
    (found,) = read(tmp_path, [1, 1, 0, 2], [0.9, 0.1, 0.2, 0.5])
    assert isinstance(found, GeneratedText)
    assert found.score == pytest.approx(0.7)


def test_a_text_below_the_threshold_is_left_out(tmp_path: Path) -> None:
    assert read(tmp_path, [1, 2], [0.9, 0.9], threshold=0.95) == []
    assert read(tmp_path, [1, 2], [0.9, 0.9], threshold=0.5)
