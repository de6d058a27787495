"""How far two answers about a picture are apart, by task."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
import pytest

from engine.models.answer_difference import answer_difference
from engine.models.load import load_model
from engine.models.loaded_model import LoadedModel
from loaders.repository.model_repository import ModelRepository
from loaders.runtimes.base import SessionOptions
from loaders.runtimes.onnxruntime_loader import OnnxRuntimeLoader
from tests.engine.tasks.graphs import Outputs, Thing, constant_graph, end_to_end
from tests.tiny_models import SPEC, add_model, colour_graph

CAT = Thing((8, 8, 40, 40), 1, 0.9)
DOG = Thing((20, 30, 60, 60), 2, 0.45)


def load(tmp_path: Path, graph: onnx.ModelProto, spec: str = SPEC) -> LoadedModel:
    add_model(tmp_path, "m", graph, spec=spec)
    return load_model(ModelRepository(tmp_path).find("m"), OnnxRuntimeLoader(), SessionOptions())


def difference(model: LoadedModel, expected: Outputs, found: Outputs) -> float | None:
    return answer_difference(model, model, (expected, found), model.preprocessor.frame(model.preprocessor.target))


def logits(values: Sequence[object]) -> Outputs:
    return {"logits": np.asarray(values, np.float32)}


@pytest.mark.parametrize(
    ("found", "size"),
    [([2.0, 1.0, 0.0], 0.0), ([2.0, 1.0, 0.1], 0.0085), ([2.0, 2.1, 0.0], 1.0), ([2.0, 1.0, np.nan], 1.0)],
)
def test_classes_differ_by_their_scores_and_by_their_first(tmp_path: Path, found: list[float], size: float) -> None:
    model = load(tmp_path, colour_graph())
    assert difference(model, logits([[2.0, 1.0, 0.0]]), logits([found])) == pytest.approx(size, abs=1e-3)


@pytest.mark.parametrize(
    ("found", "size"),
    [([[0.0, -8.0, 4.0]], 0.0), ([[0.0, -8.0, 5.0]], 0.125), ([[0.0, np.nan, 4.0]], 1.0), ([[0.0, -8.0]], 1.0)],
)
def test_vectors_differ_relative_to_their_largest_value(tmp_path: Path, found: list[list[float]], size: float) -> None:
    model = load(tmp_path, colour_graph(), SPEC.replace("image-classification", "image-feature-extraction"))
    assert difference(model, logits([[0.0, -8.0, 4.0]]), logits(found)) == size


@pytest.mark.parametrize(
    ("found", "size"),
    [
        ([CAT, DOG], 0.0),
        ([DOG, CAT], 0.0),
        ([CAT, Thing(DOG.box, 2, 0.41)], 0.04),
        ([CAT, Thing((20, 30, 60, 63.2), 2, 0.45)], 0.05),
        ([CAT], 0.2),
        ([CAT, Thing(DOG.box, 0, 0.45)], 0.2),
        ([CAT, DOG, Thing((0, 0, 9, 9), 0, 0.3)], 0.05),
    ],
    ids=["same", "other order", "score", "box", "missing", "class", "surplus"],
)
def test_objects_differ_by_score_place_and_class(tmp_path: Path, found: list[Thing], size: float) -> None:
    model = load(tmp_path, constant_graph(end_to_end([])), 'task = "object-detection"\nhead = "end-to-end"\n')
    assert difference(model, end_to_end([CAT, DOG]), end_to_end(found)) == pytest.approx(size, abs=1e-3)


def test_pictures_without_an_object_say_nothing(tmp_path: Path) -> None:
    model = load(tmp_path, constant_graph(end_to_end([])), 'task = "object-detection"\nhead = "end-to-end"\n')
    assert difference(model, end_to_end([]), end_to_end([])) is None


def test_masks_differ_by_their_share_of_the_picture(tmp_path: Path) -> None:
    mattes = [{"matte": np.zeros((1, 1, 64, 64), np.float32)} for _ in range(2)]
    for matte, width in zip(mattes, (32, 36), strict=True):
        matte["matte"][..., :width] = 1.0
    model = load(tmp_path, constant_graph(mattes[0]), 'task = "image-segmentation"\nhead = "matte"\nlabels = ["a"]\n')
    assert difference(model, mattes[0], mattes[0]) == 0.0
    assert difference(model, *mattes) == pytest.approx(4 / 64, abs=0.01)
