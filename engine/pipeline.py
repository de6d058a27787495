"""From bytes to predictions, in the calling thread: decode, preprocess, inference, postprocess.

`predict` yields between its stages, so that a worker thread can take several requests through them side by side.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from engine.models.loaded_model import LoadedModel, ModelRef
from engine.scheduling.run_context import RunContext, Stages, completed
from engine.tasks.predictions import Prediction
from engine.tasks.task import InvalidOutputError, PredictOptions
from loaders.images.base import ImageInfo, ImageLoader, Picture, Size
from loaders.tensors import Tensor
from utils.memory import release_free_memory
from utils.time_utils import DECODE, INFERENCE, POSTPROCESS, PREPROCESS, StageTimer

_LARGE_PIXELS = 20_000_000


@dataclass(frozen=True, slots=True)
class Answer:
    """`image`: format and size of the picture as sent, upright. `predictions`: best first.

    `timer` holds the stages of this model. It still runs if one model answers, and is stopped if several do.
    """

    model: ModelRef
    image: ImageInfo
    predictions: list[Prediction]
    timer: StageTimer


@dataclass(frozen=True, slots=True)
class TensorAnswer:
    """All outputs of a graph by name, for a tensor that the client has prepared. `timer` still runs."""

    model: ModelRef
    outputs: dict[str, Tensor]
    timer: StageTimer


def describe_image(filename: str | None, image: ImageInfo) -> dict[str, Any]:
    """As the JSON of the service and of the command line have it."""
    shown = {"filename": filename, "format": image.format, "width": image.width, "height": image.height}
    return shown | {"alpha": True} if image.alpha else shown


def predict(
    models: Sequence[LoadedModel], loader: ImageLoader, data: bytes, options: PredictOptions, context: RunContext
) -> Stages[list[Answer]]:
    """Returns the answers of several models about one picture, which is decoded once.

    Raises ImageError for a bad picture, InvalidOutputError or ModelRunError for a bad model, RunStoppedError after
    `context.stop` was set.
    """
    timer = context.timer
    context.stop.check()
    picture = decode(models, loader, data, timer)
    if len(models) == 1:
        return [(yield from _answer(models[0], picture, options, timer, context))]
    shared_s, answers = timer.elapsed_s, list[Answer]()
    for model in models:
        answer = yield from _answer(model, picture, options, timer.resumed_at(shared_s), context)
        answer.timer.stop()
        answers.append(answer)
    return answers


def run_tensors(model: LoadedModel, inputs: Mapping[str, Tensor], context: RunContext) -> TensorAnswer:
    """Runs the graph on the inputs of one picture. Raises ModelRunError, also if they do not fit the graph."""
    with context.timer.stage(INFERENCE):
        return TensorAnswer(model.ref, model.runner.run(inputs, context), context.timer)


def predict_with_picture(
    model: LoadedModel, loader: ImageLoader, data: bytes, options: PredictOptions, context: RunContext
) -> tuple[Answer, Picture]:
    """The answer that `predict` gives, and the picture in full size: one that was scaled is decoded again."""
    timer = context.timer
    context.stop.check()
    picture = decode([model], loader, data, timer)
    answer = completed(_answer(model, picture, options, timer, context))
    if picture.pixels.shape[:2] != (picture.info.height, picture.info.width):
        context.stop.check()
        with timer.stage(DECODE):
            picture = loader.load(data)
    return answer, picture


def decode(models: Sequence[LoadedModel], loader: ImageLoader, data: bytes, timer: StageTimer) -> Picture:
    """The picture in the smallest size that suffices for all models. Raises ImageError."""
    with timer.stage(DECODE):
        picture = loader.load(data, partial(_decode_size, models))
    if picture.info.size.pixels > _LARGE_PIXELS:
        release_free_memory()  # the allocator would keep the hundreds of megabytes that the decoder has freed
    return picture


def _answer(
    model: LoadedModel, picture: Picture, options: PredictOptions, timer: StageTimer, context: RunContext
) -> Stages[Answer]:
    with timer.stage(PREPROCESS):
        frame = model.preprocessor.frame(picture.info.size)
        tensor = model.preprocessor(picture)
    yield
    context.stop.check()
    with timer.stage(INFERENCE):
        outputs = model.infer(tensor, frame, context)
    yield
    with timer.stage(POSTPROCESS):
        try:
            predictions = model.task.postprocess(outputs, frame, options)
        except InvalidOutputError as error:
            raise InvalidOutputError(f"{model.ref.name} version {model.ref.version}: {error}") from error
    return Answer(model.ref, picture.info, predictions, timer)


def _decode_size(models: Sequence[LoadedModel], info: ImageInfo) -> Size | None:
    """The smallest size that suffices for all models; None if one needs a full decode."""
    if len(models) == 1:
        return models[0].preprocessor.decode_size(info)
    sizes = [model.preprocessor.decode_size(info) for model in models]
    known = [size for size in sizes if size]
    if len(known) < len(sizes):
        return None
    return Size(max(size.width for size in known), max(size.height for size in known))
