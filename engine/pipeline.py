"""One picture's trip, from bytes to predictions, in the thread that calls. The server and the command line share it."""

from dataclasses import dataclass

from engine.live_model import LiveModel, ModelRef
from engine.tasks.task import Prediction, PredictOptions
from loaders.image_loader import ImageInfo, ImageLoader
from utils.time_utils import DECODE, INFERENCE, POSTPROCESS, PREPROCESS, StageTimer


@dataclass(frozen=True, slots=True)
class Answer:
    """`image` tells the picture as it was sent, upright; `predictions` come best first."""

    model: ModelRef
    image: ImageInfo
    predictions: list[Prediction]


def predict(model: LiveModel, loader: ImageLoader, data: bytes, options: PredictOptions, timer: StageTimer) -> Answer:
    """Raises ImageError for a picture at fault, InvalidOutputError for a model at fault."""
    with timer.stage(DECODE):
        info = loader.probe(data)
        picture = loader.load(data, model.preprocessor.decode_size(info))
    with timer.stage(PREPROCESS):
        tensor = model.preprocessor(picture)
    with timer.stage(INFERENCE):
        outputs = model.infer(tensor)
    with timer.stage(POSTPROCESS):
        predictions = model.task.postprocess(outputs, options)
    return Answer(model.ref, picture.info, predictions)
