"""Scores, their order and format, and invalid outputs."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from engine.preprocessing.geometry import Frame, Placement
from engine.tasks import create_task
from engine.tasks.task import Classification, InvalidOutputError, PredictOptions
from loaders.images.base import Size
from loaders.model_errors import ModelSpecError
from loaders.model_loader import create_model_loader
from loaders.repository.specs.model_spec import ModelSpec
from loaders.runtimes.base import Session, SessionOptions
from tests import tiny_models

LABELS = ("ant", "bee", "cat", "dog")
SCORE_ERROR = 1e-6


FRAME = Frame(Size(4, 4), Placement(Size(4, 4), 0, 0), Size(4, 4))  # classes have no position


def predictions(
    logits: Sequence[float],
    options: PredictOptions = PredictOptions(),  # noqa: B008 - frozen
    *,
    activation: str = "none",
    labels: Sequence[str] = LABELS,
    output: str | None = None,
) -> list[Classification]:
    task = create_task(spec(activation=activation, labels=labels, outputs=[output] if output else []))
    outputs = {"logits": np.asarray([logits], np.float32), "other": np.zeros((1, 4), np.float32)}
    found = task.postprocess(outputs, FRAME, options)
    assert all(isinstance(one, Classification) for one in found)
    return [one for one in found if isinstance(one, Classification)]


def session(tmp_path: Path) -> Session:
    folder = tiny_models.add_model(tmp_path, "two", tiny_models.two_output_graph())
    return create_model_loader("onnxruntime").load(folder / "1" / "model.onnx", SessionOptions())


def spec(**fields: object) -> ModelSpec:
    return ModelSpec.model_validate({"task": "image-classification"} | fields)


@pytest.mark.parametrize(
    ("activation", "logits", "scores"),
    [
        ("softmax", [0, 0, 0, 0], [0.25] * 4),
        ("softmax", [np.log(1), np.log(2), np.log(3), np.log(4)], [0.1, 0.2, 0.3, 0.4]),
        ("softmax", [1000, 1000, -1000, 0], [0.5, 0.5, 0.0, 0.0]),
        ("softmax", [-np.inf, 0, -np.inf, -np.inf], [0, 1, 0, 0]),
        ("sigmoid", [0, np.log(3), -np.log(3), 0], [0.5, 0.75, 0.25, 0.5]),
        ("sigmoid", [1000, -1000, 0, 0], [1, 0, 0.5, 0.5]),
        ("none", [0.1, 0.9, 0.5, 0.0], [0.1, 0.9, 0.5, 0.0]),
    ],
)
def test_activations(activation: str, logits: list[float], scores: list[float]) -> None:
    found = {one.class_id: one.score for one in predictions(logits, activation=activation)}
    assert [found[i] for i in range(4)] == pytest.approx(scores, abs=SCORE_ERROR)


def test_predictions_are_sorted_by_score() -> None:
    found = predictions([0.1, 0.4, 0.3, 0.2])
    assert [(one.label, one.class_id) for one in found] == [("bee", 1), ("cat", 2), ("dog", 3), ("ant", 0)]


def test_equal_scores_are_sorted_by_class_id() -> None:
    assert [one.class_id for one in predictions([0.2, 0.5, 0.2, 0.5])] == [1, 3, 0, 2]


@pytest.mark.parametrize(("top_k", "count"), [(1, 1), (3, 3), (4, 4), (1000, 4)])
def test_top_k_limits_the_answer(top_k: int, count: int) -> None:
    found = predictions([0.1, 0.4, 0.3, 0.2], PredictOptions(top_k=top_k))
    assert [one.class_id for one in found] == [1, 2, 3, 0][:count]


@pytest.mark.parametrize(("threshold", "ids"), [(0.0, [1, 2, 3, 0]), (0.25, [1, 2]), (0.5, [1]), (0.9, [])])
def test_the_threshold_is_the_minimum_score(threshold: float, ids: list[int]) -> None:
    found = predictions([0.0, 0.5, 0.25, 0.125], PredictOptions(threshold=threshold))
    assert [one.class_id for one in found] == ids


def test_negative_values_of_a_regression_are_answered() -> None:
    assert [found.score for found in predictions([-2.5], labels=["warmth"])] == [-2.5]
    assert [found.class_id for found in predictions([-1.0, -3.0, 2.0, -2.0])] == [2, 0, 3, 1]


def test_scores_are_the_shortest_decimals_of_their_float32() -> None:
    assert repr([one.score for one in predictions([0.8331, 0.1, 0.05, 1e-7])]) == "[0.8331, 0.1, 0.05, 1e-07]"


def test_a_class_without_a_label_is_named_by_its_id() -> None:
    assert [one.label for one in predictions([0.1, 0.4, 0.3, 0.2], labels=())][:2] == ["class 1", "class 2"]


def test_the_named_output_is_read_and_the_first_one_otherwise() -> None:
    assert predictions([0.1, 0.4, 0.3, 0.2], output="other")[0].score == 0
    assert predictions([0.1, 0.4, 0.3, 0.2])[0].score == 0.4


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    ("activation", "bad"),
    [
        ("softmax", np.nan),
        ("softmax", np.inf),
        ("sigmoid", np.nan),
        ("none", np.nan),
        ("none", np.inf),
        ("none", -np.inf),
    ],
)
def test_nan_and_infinity_are_errors_also_beyond_the_top_k(activation: str, bad: float) -> None:
    with pytest.raises(InvalidOutputError, match="not finite"):
        predictions([5.0, 1.0, bad, 0.0], PredictOptions(top_k=1), activation=activation)


def test_the_number_of_labels_must_match_the_graph(tmp_path: Path) -> None:
    task = create_task(spec(labels=("red", "green")))
    with pytest.raises(ModelSpecError, match=r"2 labels, but the graph has 3 classes"):
        task.check(session(tmp_path))


@pytest.mark.parametrize("labels", [(), tiny_models.COLOURS])
def test_no_labels_or_one_for_each_class_match(tmp_path: Path, labels: tuple[str, ...]) -> None:
    create_task(spec(labels=labels, outputs=["opposite"])).check(session(tmp_path))


def test_a_missing_output_is_named_with_the_existing_ones(tmp_path: Path) -> None:
    with pytest.raises(ModelSpecError, match=r"no output 'scores'; it has: logits, opposite"):
        create_task(spec(outputs=["scores"])).check(session(tmp_path))
