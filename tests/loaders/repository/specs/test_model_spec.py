"""The fields of model.toml: valid values, and errors for invalid ones."""

from pathlib import Path

import pytest

from engine.models.load import resolve_files
from loaders.model_errors import ModelSpecError
from loaders.repository.model_repository import ModelRepository
from loaders.repository.specs.model_spec import Activation, Color, Interpolation, ModelSpec, Resize, Rounding
from tests.tiny_models import add_model, colour_graph

TASK = 'task = "image-classification"\n'
PREPROCESS = TASK + "[preprocess]\n"


def read(tmp_path: Path, text: str) -> ModelSpec:
    add_model(tmp_path, "colours", colour_graph(), spec=text)
    return resolve_files(ModelRepository(tmp_path).find("colours").files).spec


def test_spec_with_task_alone_is_valid() -> None:
    spec = ModelSpec.model_validate({"task": "image-classification"})
    preprocess = spec.preprocess
    assert (spec.input, spec.outputs, spec.activation) == (None, (), Activation.SOFTMAX)
    assert (preprocess.size, preprocess.layout, preprocess.dtype, preprocess.shortest_edge) == (None, None, None, None)
    assert (preprocess.resize, preprocess.interpolation) == (Resize.SHORTEST_EDGE, Interpolation.BILINEAR)
    assert (preprocess.resize_rounding, preprocess.crop_rounding) == (Rounding.DOWN, Rounding.DOWN)
    assert (preprocess.rescale_factor, preprocess.mean, preprocess.std) == (1 / 255, (0.0,), (1.0,))
    assert (preprocess.color, preprocess.channels, preprocess.pad_value) == (Color.RGB, 3, 0)


def test_spec_fields_are_read(tmp_path: Path) -> None:
    text = """
        task = "image-classification"
        input = "pixels"
        outputs = ["scores", "boxes"]
        activation = "sigmoid"
        labels = ["a", "b"]
        [preprocess]
        size = [240, 320]
        resize = "letterbox"
        shortest_edge = 256
        interpolation = "lanczos"
        resize_rounding = "nearest"
        crop_rounding = "nearest"
        pad_value = 114
        color = "GRAY"
        layout = "NHWC"
        dtype = "float16"
        rescale_factor = 1
        mean = [127]
        std = [64.5]
    """
    spec = read(tmp_path, text)
    given = spec.preprocess.model_dump(mode="json", exclude_unset=True)
    assert given == {
        "size": [240, 320], "resize": "letterbox", "shortest_edge": 256, "interpolation": "lanczos",
        "resize_rounding": "nearest", "crop_rounding": "nearest", "pad_value": 114, "color": "GRAY", "layout": "NHWC",
        "dtype": "float16", "rescale_factor": 1.0, "mean": [127.0], "std": [64.5],
    }  # fmt: skip
    assert (spec.input, spec.outputs, spec.labels) == ("pixels", ("scores", "boxes"), ("a", "b"))
    assert spec.activation is Activation.SIGMOID
    assert spec.preprocess.channels == 1


@pytest.mark.parametrize(
    ("text", "field"),
    [
        ('task = "cooking"', "task"),
        ("task = 1", "task"),
        (TASK + 'tasks = "image-classification"', "tasks"),
        (TASK + "input = 1", "input"),
        (TASK + 'outputs = "scores"', "outputs"),
        (TASK + "outputs = [1]", "outputs.0"),
        (TASK + "score_threshold = 1.5", "score_threshold"),
        (TASK + "iou_threshold = nan", "iou_threshold"),
        (TASK + 'head = "yolov3"', "head"),
        (TASK + 'extra_inputs = { mask = "face" }', "extra_inputs.mask"),
        (TASK + 'activation = "relu"', "activation"),
        (TASK + "labels = [1, 2]", "labels.0"),
        (TASK + 'labels = "red"', "labels"),
        (TASK + 'preprocess = "bilinear"', "preprocess"),
        (PREPROCESS + "sizes = [8, 8]", "preprocess.sizes"),
        (PREPROCESS + "size = 224", "preprocess.size"),
        (PREPROCESS + "size = [224]", "preprocess.size"),
        (PREPROCESS + "size = [224, 224, 3]", "preprocess.size"),
        (PREPROCESS + "size = [0, 224]", "preprocess.size.0"),
        (PREPROCESS + "size = [224, 20000]", "preprocess.size.1"),
        (PREPROCESS + "size = [224.5, 224]", "preprocess.size.0"),
        (PREPROCESS + 'resize = "crop"', "preprocess.resize"),
        (PREPROCESS + "shortest_edge = 0", "preprocess.shortest_edge"),
        (PREPROCESS + 'interpolation = "area"', "preprocess.interpolation"),
        (PREPROCESS + 'resize_rounding = "away"', "preprocess.resize_rounding"),
        (PREPROCESS + 'crop_rounding = "away"', "preprocess.crop_rounding"),
        (PREPROCESS + "pad_value = 256", "preprocess.pad_value"),
        (PREPROCESS + "pad_value = -1", "preprocess.pad_value"),
        (PREPROCESS + 'color = "CMYK"', "preprocess.color"),
        (PREPROCESS + 'layout = "CHW"', "preprocess.layout"),
        (PREPROCESS + 'dtype = "int8"', "preprocess.dtype"),
        (PREPROCESS + "rescale_factor = 0", "preprocess.rescale_factor"),
        (PREPROCESS + "rescale_factor = inf", "preprocess.rescale_factor"),
        (PREPROCESS + "mean = [nan]", "preprocess.mean"),
        (PREPROCESS + "mean = [0.1, 0.2]", "mean has 2 values"),
        (PREPROCESS + "mean = []", "mean has 0 values"),
        (PREPROCESS + "std = [1, 1, 1, 1]", "std has 4 values"),
        (PREPROCESS + 'color = "GRAY"\nmean = [0.1, 0.2, 0.3]', "GRAY needs 1"),
        (PREPROCESS + "std = [0.0]", "preprocess.std"),
        (PREPROCESS + "std = [1.0, -1.0, 1.0]", "preprocess.std"),
        (PREPROCESS + "std = [inf]", "preprocess.std"),
    ],
)
def test_invalid_field_is_named_in_one_sentence(tmp_path: Path, text: str, field: str) -> None:
    with pytest.raises(ModelSpecError) as error:
        read(tmp_path, text)
    message = str(error.value)
    assert message.startswith("colours/model.toml: ")
    assert field in message
    assert "\n" not in message
    assert "pydantic" not in message
    assert str(tmp_path) not in message


def test_spec_is_frozen(tmp_path: Path) -> None:
    spec = read(tmp_path, TASK)
    with pytest.raises(ValueError, match="frozen"):
        spec.preprocess.pad_value = 3  # type: ignore[misc]  # that is what is tested


def test_mean_and_std_may_be_single_numbers(tmp_path: Path) -> None:
    preprocess = read(tmp_path, PREPROCESS + "mean = 127\nstd = 127.5\n").preprocess
    assert (preprocess.mean, preprocess.std) == ((127.0,), (127.5,))
