"""What is explained: labels, boxes, segments and similarities, and requests that name nothing there is."""

from pathlib import Path

import numpy as np
import pytest

from engine.explain.explainer import Method
from engine.explain.target import ExplainError, TargetQuery
from engine.models.loaded_model import LoadedModel
from engine.tasks.predictions import Box
from tests.engine.explain.explaining import TOP, explain, loaded
from tests.engine.explain.patch_models import SIDE, matte_graph, patch_graph, two_boxes_graph
from tests.pictures import Pixels, encode
from tests.tiny_models import SPEC, colour_graph, solid_png

HALF = SIDE // 2
INPUT = f'[preprocess]\nresize = "stretch"\nsize = [{SIDE}, {SIDE}]\nmean = [0.0]\nstd = [1.0]\n'
DETECTOR = f'task = "object-detection"\nhead = "boxes-scores"\noutputs = ["boxes", "scores"]\n{INPUT}'
EMBEDDER = f'task = "image-feature-extraction"\n{INPUT}'


def stripes(left: int, right: int) -> Pixels:
    """A picture twice as large as the input: a bright vertical line in each half, of the given levels."""
    pixels = np.zeros((2 * SIDE, 2 * SIDE, 3), np.uint8)
    pixels[:, 20:40], pixels[:, 2 * SIDE - 40 : 2 * SIDE - 20] = left, right
    return pixels


@pytest.fixture
def colours(tmp_path: Path) -> LoadedModel:
    return loaded(tmp_path, colour_graph(), SPEC, ("warm", "cold", "warm"))


@pytest.fixture
def detector(tmp_path: Path) -> LoadedModel:
    return loaded(tmp_path, two_boxes_graph(), DETECTOR, ("line",))


def test_without_a_query_the_best_class_is_explained(colours: LoadedModel) -> None:
    target = explain(colours, solid_png("lime")).target
    assert (target.label, target.class_id, target.box) == ("cold", 1, None)
    assert target.score > 0.9


def test_of_two_classes_with_one_label_the_better_is_explained(colours: LoadedModel) -> None:
    assert explain(colours, solid_png("blue"), TargetQuery("warm")).target.class_id == 2
    assert explain(colours, solid_png("red"), TargetQuery("warm")).target.class_id == 0


def test_a_class_without_a_label_has_its_number_as_label(tmp_path: Path) -> None:
    model = loaded(tmp_path, colour_graph(), SPEC)
    assert explain(model, solid_png("red"), TargetQuery(class_id=1)).target.label == "class 1"
    assert explain(model, solid_png("red"), TargetQuery("class 2")).target.class_id == 2


def test_the_best_box_is_explained_in_pixels_of_the_picture(detector: LoadedModel) -> None:
    found = explain(detector, encode(stripes(120, 255), "PNG"), TargetQuery("line"))
    assert found.target.box == Box(SIDE, 0, 2 * SIDE, 2 * SIDE)
    assert found.heat_map.peak[0] > SIDE


@pytest.mark.parametrize("method", Method)
def test_a_given_box_is_explained(detector: LoadedModel, method: Method) -> None:
    """Its score is that of the overlapping box, times the overlap of 0.5."""
    box = Box(0, 0, SIDE, SIDE)
    found = explain(detector, encode(stripes(120, 255), "PNG"), TargetQuery(box=box), method)
    assert found.target.box == box
    assert found.target.score == pytest.approx(0.5 * 120 / 255 * 20 / SIDE, abs=0.01)
    assert found.heat_map.peak[0] < SIDE


def test_the_mask_of_a_segment_is_explained(tmp_path: Path) -> None:
    """A graph that returns the brightness as matte: hiding the line removes it from the mask."""
    model = loaded(tmp_path, matte_graph(), f'task = "image-segmentation"\nhead = "matte"\n{INPUT}')
    found = explain(model, encode(stripes(0, 255), "PNG"))
    assert (found.target.label, found.target.score) == ("foreground", 1)
    assert 2 * SIDE - 45 < found.heat_map.peak[0] < 2 * SIDE - 15


def test_the_similarity_to_a_second_picture_is_explained(tmp_path: Path) -> None:
    """The vector's signs follow the left half: only the line there matters."""
    model = loaded(tmp_path, patch_graph((0, SIDE), (0, HALF)), EMBEDDER)
    same = explain(model, encode(stripes(255, 0), "PNG"), reference=encode(stripes(255, 255), "PNG"))
    assert (same.target.label, same.target.class_id) == (None, None)
    assert same.target.score == pytest.approx(1)
    assert same.passes == 99


@pytest.mark.parametrize(
    ("query", "message"),
    [
        (TargetQuery("worm"), r"no label 'worm'; did you mean 'warm'\?"),
        (TargetQuery("zebra"), "no label 'zebra'; take one from an answer of /infer, or give class_id"),
        (TargetQuery(class_id=3), "no class with class_id=3; class ids are 0 to 2"),
        (TargetQuery(box=Box(0, 0, 1, 1)), "box is for models that detect objects"),
    ],
)
def test_unknown_classes_are_errors(colours: LoadedModel, query: TargetQuery, message: str) -> None:
    with pytest.raises(ExplainError, match=message):
        explain(colours, solid_png("red"), query)


@pytest.mark.parametrize(
    ("query", "message"),
    [
        (TOP, "Nothing was found in the picture; name a label and a box"),
        (TargetQuery("line", box=Box(0, 0, 9, 9)), "Nothing with label=line was found in this box"),
        (TargetQuery(class_id=7), "Nothing with class_id=7 was found in the picture"),
        (
            TargetQuery(box=Box(0, 0, 2 * SIDE + 1, 5)),
            f"not a box inside the picture, which has {2 * SIDE} x {2 * SIDE}",
        ),
        (TargetQuery(box=Box(5, 5, 5, 9)), "xmin < xmax"),
    ],
)
def test_missing_boxes_are_errors(detector: LoadedModel, query: TargetQuery, message: str) -> None:
    with pytest.raises(ExplainError, match=message):
        explain(detector, encode(stripes(0, 0), "PNG"), query)


def test_other_labels_of_the_picture_are_named(detector: LoadedModel) -> None:
    with pytest.raises(ExplainError, match="Nothing with class_id=7 was found in the picture; the model finds 'line'"):
        explain(detector, encode(stripes(9, 255), "PNG"), TargetQuery(class_id=7))


def test_a_reference_belongs_to_embeddings(tmp_path: Path, colours: LoadedModel) -> None:
    red = solid_png("red")
    with pytest.raises(ExplainError, match="'reference' is for embeddings; this model's task is image-classification"):
        explain(colours, red, reference=red)
    embedder = loaded(tmp_path / "other", patch_graph((0, 9), (0, 9)), EMBEDDER)
    with pytest.raises(ExplainError, match="send it as the form field 'reference'"):
        explain(embedder, red)
    with pytest.raises(ExplainError, match="have no labels and boxes"):
        explain(embedder, red, TargetQuery("line"), reference=red)


@pytest.mark.parametrize("task", ["tensor", "depth-estimation"])
def test_tasks_without_a_score_are_errors(tmp_path: Path, task: str) -> None:
    model = loaded(tmp_path, matte_graph(), f'task = "{task}"\n{INPUT}')
    with pytest.raises(
        ExplainError, match=f"{task} cannot be explained; these tasks can: image-classification, object"
    ):
        explain(model, solid_png("red"))
