"""One picture's trip, from bytes to predictions, in the thread that calls. The server and the command line share it."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from engine.models.loaded_model import LoadedModel, ModelRef
from engine.scheduling.run_context import RunContext
from engine.tasks.predictions import Prediction
from engine.tasks.task import InvalidOutputError, PredictOptions
from loaders.images.base import ImageInfo, ImageLoader, Picture, Size
from utils.memory import release_free_memory
from utils.time_utils import DECODE, INFERENCE, POSTPROCESS, PREPROCESS, StageTimer

_LARGE_PIXELS = 20_000_000


@dataclass(frozen=True, slots=True)
class Answer:
    """`image` tells the picture as it was sent, upright; `predictions` come best first.

    `timer` has this model's stages; of several models each one's is stopped, of one it still runs.
    """

    model: ModelRef
    image: ImageInfo
    predictions: list[Prediction]
    timer: StageTimer


def predict(
    models: Sequence[LoadedModel], loader: ImageLoader, data: bytes, options: PredictOptions, turn: RunContext
) -> list[Answer]:
    """The answers of several models about one picture, which is decoded once.

    Raises ImageError for a picture at fault, InvalidOutputError or ModelRunError for a model at fault, RunStoppedError
    when `turn` was told to stop.
    """
    timer = turn.timer
    turn.go_on()
    with timer.stage(DECODE):
        picture = loader.load(data, partial(_decode_size, models))
    if picture.info.size.pixels > _LARGE_PIXELS:
        release_free_memory()  # a decoder has let go of hundreds of megabytes, which the allocator would keep
    shared_s = timer.elapsed_s
    if len(models) == 1:
        return [_answer(models[0], picture, options, timer, turn)]
    return [_stopped(_answer(model, picture, options, timer.resumed_at(shared_s), turn)) for model in models]


def _stopped(answer: Answer) -> Answer:
    answer.timer.stop()
    return answer


def _answer(
    model: LoadedModel, picture: Picture, options: PredictOptions, timer: StageTimer, turn: RunContext
) -> Answer:
    with timer.stage(PREPROCESS):
        frame = model.preprocessor.frame(picture.info.size)
        tensor = model.preprocessor(picture)
    turn.go_on()
    with timer.stage(INFERENCE), turn.place.running(model.ref.name, model.ref.version):
        outputs = model.infer(tensor, frame, turn)
    with timer.stage(POSTPROCESS):
        try:
            predictions = model.task.postprocess(outputs, frame, options)
        except InvalidOutputError as error:
            raise InvalidOutputError(f"{model.ref.name} version {model.ref.version}: {error}") from error
    return Answer(model.ref, picture.info, predictions, timer)


def _decode_size(models: Sequence[LoadedModel], info: ImageInfo) -> Size | None:
    """What suffices for the model that needs most; None when one needs all."""
    if len(models) == 1:
        return models[0].preprocessor.decode_size(info)
    sizes = [model.preprocessor.decode_size(info) for model in models]
    known = [size for size in sizes if size]
    if len(known) < len(sizes):
        return None
    return Size(max(size.width for size in known), max(size.height for size in known))
