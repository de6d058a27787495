"""From bytes to an answer in one call: predictions, picture, model and timings."""

from pathlib import Path

import pytest

from engine.models.load import load_model
from engine.models.loaded_model import LoadedModel
from engine.pipeline import Answer, predict
from engine.scheduling.run_context import alone, completed
from engine.tasks.task import Classification, InvalidOutputError, PredictOptions
from loaders.image_loader import create_image_loader
from loaders.images.errors import CorruptImageError, EmptyImageError, ImageError
from loaders.model_loader import create_model_loader
from loaders.repository.model_repository import ModelRepository
from loaders.runtimes.base import SessionOptions
from tests.pictures import encode, rotated_twin, scene
from tests.tiny_models import add_model, colour_graph, not_a_number_graph, solid_png
from utils.time_utils import DECODE, INFERENCE, POSTPROCESS, PREPROCESS, QUEUE, StageTimer


def load(tmp_path: Path, name: str = "colours") -> LoadedModel:
    add_model(tmp_path, "colours", colour_graph())
    add_model(tmp_path, "nan", not_a_number_graph())
    return load_model(ModelRepository(tmp_path).find(name), create_model_loader("onnxruntime"), SessionOptions())


def answer_of(model: LoadedModel, data: bytes, *, loader: str = "opencv", timer: StageTimer | None = None) -> Answer:
    [answer] = completed(
        predict([model], create_image_loader(loader), data, PredictOptions(), alone(timer or StageTimer()))
    )
    return answer


@pytest.mark.parametrize("loader", ["opencv", "pillow"])
@pytest.mark.parametrize("colour", ["red", "green", "blue"])
def test_predict_answers_a_picture(tmp_path: Path, loader: str, colour: str) -> None:
    answer = answer_of(load(tmp_path), solid_png(colour, 30, 20), loader=loader)
    assert (answer.model.name, answer.model.version) == ("colours", 1)
    assert (answer.image.format, answer.image.width, answer.image.height) == ("PNG", 30, 20)
    best = answer.predictions[0]
    assert isinstance(best, Classification)
    assert best.label == colour
    assert len(answer.predictions) == 3


@pytest.mark.parametrize("orientation", range(2, 9))
def test_a_rotated_picture_is_answered_as_its_upright_twin(tmp_path: Path, orientation: int) -> None:
    model, upright = load(tmp_path), scene(60, 40)
    turned = answer_of(model, rotated_twin(upright, "PNG", orientation))
    twin = answer_of(model, encode(upright, "PNG"))
    assert (turned.image.width, turned.image.height) == (60, 40)
    assert turned.predictions == twin.predictions


def test_the_size_is_that_of_the_original_when_the_decoder_scales(tmp_path: Path) -> None:
    answer = answer_of(load(tmp_path), encode(scene(400, 300), "JPEG"))
    assert (answer.image.width, answer.image.height) == (400, 300)


def test_each_stage_but_the_queue_is_timed(tmp_path: Path) -> None:
    timer = StageTimer()
    answer_of(load(tmp_path), encode(scene(900, 700), "PNG"), timer=timer)
    timings = timer.as_ms()
    assert [stage for stage in (DECODE, PREPROCESS, INFERENCE, POSTPROCESS) if timings[stage] <= 0] == []
    assert timings[QUEUE] == 0


@pytest.mark.parametrize(
    ("data", "error"),
    [(b"", EmptyImageError), (b"\xff\xd8\xff no picture", CorruptImageError), (b"hello there", ImageError)],
)
def test_a_bad_picture_raises_an_image_error(tmp_path: Path, data: bytes, error: type[ImageError]) -> None:
    with pytest.raises(error):
        answer_of(load(tmp_path), data)


def test_a_failed_decode_is_timed(tmp_path: Path) -> None:
    timer = StageTimer()
    with pytest.raises(ImageError):
        answer_of(load(tmp_path), encode(scene(400, 300), "PNG")[:-500], timer=timer)
    assert timer.as_ms()[DECODE] > 0
    assert timer.as_ms()[INFERENCE] == 0


def test_a_model_that_answers_nan_raises_an_output_error(tmp_path: Path) -> None:
    with pytest.raises(InvalidOutputError):
        answer_of(load(tmp_path, "nan"), solid_png("white"))
