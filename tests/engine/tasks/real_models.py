"""The models and photos that come with the repository, loaded as the server loads them."""

from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

from PIL import Image

from engine.live_model import LiveModel
from engine.load_model import load_live_model
from engine.tasks.predictions import Prediction
from engine.tasks.task import PredictOptions
from loaders.image_loader import Picture, create_image_loader
from loaders.model_loader import SessionOptions, create_model_loader
from loaders.model_repository import ModelRepository

ROOT = Path(__file__).parents[3]
DATA = ROOT / "tests" / "data"
PHOTOS = DATA / "detection"
YUNET = DATA / "models" / "face_detection_yunet_2023mar.onnx"

# What an orientation of 6 (turn right to see it upright) takes: the stored picture is turned left.
_TURNED_LEFT, _TURN_RIGHT = Image.Transpose.ROTATE_90, 6
_ORIENTATION_TAG = 0x0112


@dataclass(frozen=True)
class Answered:
    picture: Picture
    predictions: list[Prediction]


def load(name: str) -> LiveModel:
    version = ModelRepository(ROOT / "models").find(name)
    return load_live_model(version, create_model_loader("onnxruntime"), SessionOptions(), exact_decode=True)


def ask(model: LiveModel, data: bytes, options: PredictOptions | None = None) -> Answered:
    picture = create_image_loader("opencv").load(data, None)
    frame = model.preprocessor.frame(picture.info.size)
    outputs = model.infer(model.preprocessor(picture), frame)
    return Answered(picture, model.task.postprocess(outputs, frame, options or PredictOptions()))


def as_png(data: bytes, *, rotated_by_exif: bool = False) -> bytes:
    """The same pixels without loss; stored lying on their side, with the EXIF tag that sets them upright again."""
    image, buffer = Image.open(BytesIO(data)).convert("RGB"), BytesIO()
    exif = Image.Exif()
    if rotated_by_exif:
        image = image.transpose(_TURNED_LEFT)
        exif[_ORIENTATION_TAG] = _TURN_RIGHT
    image.save(buffer, "PNG", exif=exif)
    return buffer.getvalue()
