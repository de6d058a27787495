"""Every head in the layout of its exporter, with known answers."""

from pathlib import Path

import numpy as np
import orjson
import pytest

from engine.models.loaded_model import LoadedModel, ModelRef
from engine.scheduling.runner import single_session
from engine.tasks.predictions import Box, Detection, Prediction
from engine.tasks.task import InvalidOutputError, PredictOptions
from loaders.images.base import ImageInfo, Picture, Size
from loaders.repository.specs import ResolvedSpec
from loaders.repository.specs.model_spec import Activation, ExtraInput, Head, ModelSpec, Resize, TaskName
from tests.engine.tasks.graphs import (
    LAYOUTS,
    TARGET,
    Outputs,
    Thing,
    answer,
    frame_of,
    open_session,
    paddle_graph,
    rt_detr,
    yolov8,
)

LABELS = ("cat", "dog", "bird")

# 200 x 100 in 64 x 64: resized to 64 x 32, 16 rows of padding above and below.
LANDSCAPE = frame_of(Size(200, 100), Resize.LETTERBOX)
CAT = Thing((16, 24, 48, 40), 0, 0.9)
SAME_CAT = Thing((16, 24, 48, 39), 0, 0.8)
DOG_ON_IT = Thing((16, 24, 48, 40), 1, 0.7)
TOO_FAINT = Thing((8, 20, 16, 24), 2, 0.1)
IN_PICTURE = Box(50, 25, 150, 75)

WITHOUT_NMS = ["yolov5", "yolov8", "boxes-scores", "boxes-scores, classes last"]


def spec_of(head: Head, **fields: object) -> ModelSpec:
    return ModelSpec.model_validate({"task": TaskName.OBJECT_DETECTION, "head": head, "labels": LABELS, **fields})


def laid_out(layout: str, things: list[Thing]) -> tuple[ModelSpec, Outputs]:
    """Boxes of Paddle are in the picture's pixels."""
    head, lay_out = LAYOUTS[layout]
    if head is Head.PADDLE_NMS:
        things = [Thing(tuple(_in_picture(t)), t.class_id, t.score) for t in things]  # type: ignore[arg-type]  # four there are
    return spec_of(head), lay_out(things)


def _in_picture(thing: Thing) -> list[float]:
    return [float(edge) for edge in LANDSCAPE.to_picture(np.array([thing.box], np.float32))[0]]


def named(predictions: list[Prediction]) -> list[tuple[str, int, float]]:
    assert all(isinstance(p, Detection) for p in predictions)
    return [(p.label, p.class_id, round(p.score, 5)) for p in predictions if isinstance(p, Detection)]


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_box_is_in_the_pictures_pixels(layout: str, tmp_path: Path) -> None:
    spec, outputs = laid_out(layout, [TOO_FAINT, CAT])
    (cat,) = answer(tmp_path, outputs, spec, LANDSCAPE)
    assert isinstance(cat, Detection)
    assert (cat.label, cat.class_id, cat.box) == ("cat", 0, IN_PICTURE)
    assert cat.score == pytest.approx(0.9, abs=1e-6)


@pytest.mark.parametrize("layout", WITHOUT_NMS)
def test_duplicates_of_a_class_are_suppressed(layout: str, tmp_path: Path) -> None:
    spec, outputs = laid_out(layout, [DOG_ON_IT, SAME_CAT, CAT, TOO_FAINT])
    assert named(answer(tmp_path, outputs, spec, LANDSCAPE)) == [("cat", 0, 0.9), ("dog", 1, 0.7)]


@pytest.mark.parametrize("layout", [name for name in LAYOUTS if name not in WITHOUT_NMS])
def test_a_head_with_nms_is_not_suppressed_again(layout: str, tmp_path: Path) -> None:
    spec, outputs = laid_out(layout, [DOG_ON_IT, SAME_CAT, CAT, TOO_FAINT])
    expected = [("cat", 0, 0.9), ("cat", 0, 0.8), ("dog", 1, 0.7)]
    assert named(answer(tmp_path, outputs, spec, LANDSCAPE)) == expected


@pytest.mark.parametrize("layout", LAYOUTS)
def test_no_boxes_are_an_empty_list(layout: str, tmp_path: Path) -> None:
    spec, outputs = laid_out(layout, [TOO_FAINT])
    assert answer(tmp_path, outputs, spec, LANDSCAPE) == []


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_outputs_with_nan_or_infinity_are_rejected(layout: str, value: float, tmp_path: Path) -> None:
    spec, outputs = laid_out(layout, [CAT])
    broken = {name: array.copy() for name, array in outputs.items()}
    broken[next(iter(broken))].reshape(-1)[2] = value
    with pytest.raises(InvalidOutputError, match="finite"):
        answer(tmp_path, broken, spec, LANDSCAPE)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_request_sets_threshold_and_top_k(layout: str, tmp_path: Path) -> None:
    spec, outputs = laid_out(layout, [CAT, DOG_ON_IT, TOO_FAINT])
    assert len(answer(tmp_path, outputs, spec, LANDSCAPE, PredictOptions(threshold=0.05))) == 3
    assert len(answer(tmp_path, outputs, spec, LANDSCAPE, PredictOptions(threshold=0.8))) == 1
    assert named(answer(tmp_path, outputs, spec, LANDSCAPE, PredictOptions(top_k=1))) == [("cat", 0, 0.9)]


def test_a_score_equal_to_the_threshold_is_kept(tmp_path: Path) -> None:
    spec, outputs = laid_out("yolov8", [Thing(CAT.box, 0, 0.5)])
    assert len(answer(tmp_path, outputs, spec, LANDSCAPE, PredictOptions(threshold=0.5))) == 1


def test_the_default_top_k_is_a_hundred_boxes(tmp_path: Path) -> None:
    things = [Thing((x, y, x + 4, y + 4), 0, 0.9) for x in range(0, 60, 5) for y in range(16, 44, 3)]
    spec, outputs = laid_out("yolov8", things)
    assert len(things) > 100
    assert len(answer(tmp_path, outputs, spec, LANDSCAPE)) == 100
    assert len(answer(tmp_path, outputs, spec, LANDSCAPE, PredictOptions(top_k=1000))) == len(things)


def test_boxes_are_clipped_to_the_picture_and_dropped_in_its_padding(tmp_path: Path) -> None:
    over_the_edge, in_the_padding = Thing((-20, 0, 32, 32), 0, 0.9), Thing((10, 2, 20, 14), 1, 0.9)
    (only,) = answer(tmp_path, yolov8([over_the_edge, in_the_padding]), spec_of(Head.YOLOV8), LANDSCAPE)
    assert isinstance(only, Detection)
    assert only.box == Box(0, 0, 100, 50)


def test_boxes_of_stretched_and_cropped_pictures(tmp_path: Path) -> None:
    outputs = yolov8([CAT])
    (stretched,) = answer(tmp_path, outputs, spec_of(Head.YOLOV8), frame_of(Size(128, 32), Resize.STRETCH))
    (cropped,) = answer(tmp_path, outputs, spec_of(Head.YOLOV8), frame_of(Size(256, 128), Resize.SHORTEST_EDGE))
    assert isinstance(stretched, Detection)
    assert isinstance(cropped, Detection)
    assert stretched.box == Box(32, 12, 96, 20)
    assert cropped.box == Box(96, 48, 160, 80)


def test_a_box_may_have_several_classes(tmp_path: Path) -> None:
    outputs = LAYOUTS["boxes-scores"][1]([CAT])
    outputs["scores"][0, 1, 0] = 0.6
    assert named(answer(tmp_path, outputs, spec_of(Head.BOXES_SCORES), LANDSCAPE)) == [("cat", 0, 0.9), ("dog", 1, 0.6)]


def test_rt_detr_has_sigmoid_scores_and_no_extra_class(tmp_path: Path) -> None:
    spec = spec_of(Head.DETR, activation=Activation.SIGMOID)
    predictions = answer(tmp_path, rt_detr([CAT, DOG_ON_IT, TOO_FAINT]), spec, LANDSCAPE)
    assert named(predictions) == [("cat", 0, 0.9), ("dog", 1, 0.7)]


def test_a_row_of_class_minus_one_is_no_box(tmp_path: Path) -> None:
    outputs: Outputs = {"rows": np.full((1, 6), -1, np.float32), "count": np.array([1], np.int32)}
    assert answer(tmp_path, outputs, spec_of(Head.PADDLE_NMS), LANDSCAPE) == []


def test_a_paddle_graph_with_a_scale_input(tmp_path: Path) -> None:
    spec = spec_of(
        Head.PADDLE_NMS,
        input="image",
        extra_inputs={"scale_factor": ExtraInput.SCALE},
        preprocess={"resize": Resize.STRETCH, "size": [TARGET.height, TARGET.width]},
    )
    session = open_session(tmp_path, paddle_graph([CAT, TOO_FAINT]))
    model = LoadedModel(ModelRef("paddle", 1, spec.task), single_session(session, 1), ResolvedSpec(spec, {}, ()))
    picture = Picture(np.zeros((100, 200, 3), np.uint8), ImageInfo("PNG", 200, 100))
    frame = model.preprocessor.frame(picture.info.size)
    (cat,) = model.task.postprocess(model.infer(model.preprocessor(picture), frame), frame, PredictOptions())
    assert cat == Detection("cat", 0, 0.9, Box(50, 37.5, 150, 62.5))


def test_half_precision_outputs_are_read(tmp_path: Path) -> None:
    outputs = {name: array.astype(np.float16) for name, array in yolov8([CAT]).items()}
    (cat,) = answer(tmp_path, outputs, spec_of(Head.YOLOV8), LANDSCAPE)
    assert isinstance(cat, Detection)
    assert cat.box == IN_PICTURE


def test_outputs_are_read_by_name(tmp_path: Path) -> None:
    outputs = dict(reversed(LAYOUTS["boxes-scores"][1]([CAT]).items()))
    spec = spec_of(Head.BOXES_SCORES, outputs=("boxes", "scores"))
    assert named(answer(tmp_path, outputs, spec, LANDSCAPE)) == [("cat", 0, 0.9)]


def test_huge_boxes_are_clipped(tmp_path: Path) -> None:
    things = [Thing((-3e38, -3e38, 3e38, 3e38), 0, 0.9), Thing((-1e30, 20, 1e30, 40), 1, 0.8), CAT]
    found = answer(tmp_path, LAYOUTS["boxes-scores"][1](things), spec_of(Head.BOXES_SCORES), LANDSCAPE)
    boxes = [p.box for p in found if isinstance(p, Detection)]
    assert IN_PICTURE in boxes
    assert all(0 <= box.xmin < box.xmax <= 200 and 0 <= box.ymin < box.ymax <= 100 for box in boxes)


def test_json_of_a_detection_has_the_names_of_hugging_face(tmp_path: Path) -> None:
    written = orjson.loads(orjson.dumps(answer(tmp_path, yolov8([CAT]), spec_of(Head.YOLOV8), LANDSCAPE)))
    box = {"xmin": 50.0, "ymin": 25.0, "xmax": 150.0, "ymax": 75.0}
    assert written == [{"label": "cat", "class_id": 0, "score": 0.9, "box": box}]
