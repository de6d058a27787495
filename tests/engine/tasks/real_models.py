"""The models and photos that come with the repository, loaded as the server loads them."""

from dataclasses import dataclass
from functools import cache
from io import BytesIO
from pathlib import Path

import onnxruntime
from PIL import Image

from engine.models.load import load_model
from engine.models.loaded_model import LoadedModel
from engine.tasks.predictions import Prediction
from engine.tasks.task import PredictOptions
from loaders.image_loader import create_image_loader
from loaders.images.base import Picture
from loaders.model_loader import create_model_loader
from loaders.repository.model_repository import ModelRepository
from loaders.runtimes.base import SessionOptions
from tests.paths import ROOT

DATA = ROOT / "tests" / "data"
PHOTOS = DATA / "detection"
YUNET = DATA / "models" / "face_detection_yunet_2023mar.onnx"

# EXIF orientation 6 turns the stored picture right, so it is stored turned left.
_TURNED_LEFT, _TURN_RIGHT = Image.Transpose.ROTATE_90, 6
_ORIENTATION_TAG = 0x0112


@dataclass(frozen=True)
class Answered:
    picture: Picture
    predictions: list[Prediction]


def load(name: str) -> LoadedModel:
    version = ModelRepository(ROOT / "models").find(name)
    return load_model(version, create_model_loader("onnxruntime"), SessionOptions(), exact_decode=True)


@cache
def one_thread_session(graph: Path) -> onnxruntime.InferenceSession:
    """A session of ONNX Runtime itself. Its default threads spin, which a busy machine makes slow."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])


def infer(model: LoadedModel, data: bytes, options: PredictOptions | None = None) -> Answered:
    picture = create_image_loader("opencv").load(data, None)
    frame = model.preprocessor.frame(picture.info.size)
    outputs = model.infer(model.preprocessor(picture), frame)
    return Answered(picture, model.task.postprocess(outputs, frame, options or PredictOptions()))


def as_png(data: bytes, *, rotated_by_exif: bool = False) -> bytes:
    """The same pixels as PNG, stored rotated if asked, with the EXIF tag that turns them upright."""
    image, buffer = Image.open(BytesIO(data)).convert("RGB"), BytesIO()
    exif = Image.Exif()
    if rotated_by_exif:
        image = image.transpose(_TURNED_LEFT)
        exif[_ORIENTATION_TAG] = _TURN_RIGHT
    image.save(buffer, "PNG", exif=exif)
    return buffer.getvalue()
