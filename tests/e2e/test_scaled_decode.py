"""Decodes at 1/2, 1/4 and 1/8 against full ones, on photos: similar tensors, the same answer."""

from collections.abc import Iterator
from dataclasses import dataclass
from io import BytesIO
from itertools import product

import numpy as np
import pytest
from PIL import Image

from engine.models.load import load_model
from engine.models.loaded_model import LoadedModel
from engine.preprocessing.preprocessor import Preprocessor
from engine.tasks.predictions import Classification
from engine.tasks.task import PredictOptions
from loaders.image_loader import create_image_loader
from loaders.images.base import Picture
from loaders.model_loader import create_model_loader
from loaders.repository.model_repository import ModelRepository
from loaders.repository.specs.model_spec import PreprocessSpec
from loaders.runtimes.base import SessionOptions
from tests.paths import ROOT

# A decode at 1/2, 1/4 or 1/8 against a full decode, both resized: mean absolute difference, in levels of 0 to 255.
MAX_LEVELS = 0.7

PHOTOS = ROOT / "tests" / "data" / "photos"
JPEGS = sorted(PHOTOS.glob("*.jpg"))
BIG = ("debian_palapeli-data_european-honey-bee.jpg", "gcompris_world_panda.webp", "gcompris_farm_dog.webp")
BIG_PIXELS = 3_000_000


def make_spec(**fields: object) -> PreprocessSpec:
    return PreprocessSpec.model_validate({"layout": "NCHW", "dtype": "float32"} | fields)


SPECS = [
    make_spec(size=(edge, edge), interpolation=interpolation, mean=(0.5,), std=(0.5,))
    for edge, interpolation in ((144, "bicubic"), (64, "bilinear"))
]


def jpeg(image: Image.Image, **options: object) -> bytes:
    buffer = BytesIO()
    image.save(buffer, "JPEG", **options)
    return buffer.getvalue()


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_scaled_decode_of_a_rotated_picture_is_near_the_full_one(orientation: int) -> None:
    """Sides that no scale divides: the unfilled row or column is rotated with the picture."""
    exif = Image.Exif()
    exif[274] = orientation
    photo = Image.open(JPEGS[2]).convert("RGB").crop((0, 0, 1001, 769))
    spec = make_spec(size=(96, 96), resize="stretch")
    loader, data = create_image_loader("opencv"), jpeg(photo, exif=exif)
    full, small = loader.load(data), loader.load(data, Preprocessor(spec).decode_size)
    assert small.pixels.shape != full.pixels.shape
    assert levels_apart(full, small, spec) <= MAX_LEVELS


def mosaic(side: int) -> Image.Image:
    """Photos side by side at full sharpness, with more detail than an enlarged photo."""
    canvas = Image.new("RGB", (side, side))
    tiles = [Image.open(path).convert("RGB") for path in JPEGS]
    width, height = 1300, 890
    corners = product(range(0, side, width), range(0, side, height))
    for number, corner in enumerate(corners):
        canvas.paste(tiles[number % len(tiles)].crop((0, 0, width, height)), corner)
    return canvas


def big_jpegs() -> Iterator[tuple[str, bytes]]:
    """Photos enlarged to 3 megapixels, from different encoders, and sharp ones."""
    kinds: tuple[dict[str, object], ...] = (
        {"quality": 95, "subsampling": 0},
        {"quality": 85, "subsampling": 2},
        {"quality": 85, "progressive": True},
    )
    for name, options in zip(BIG, kinds, strict=True):
        photo = Image.open(PHOTOS / name).convert("RGB")
        factor = (BIG_PIXELS / (photo.width * photo.height)) ** 0.5
        enlarged = photo.resize((int(photo.width * factor), int(photo.height * factor)), Image.Resampling.LANCZOS)
        yield f"enlarged {name}", jpeg(enlarged, **options)
    yield "grey", jpeg(Image.open(PHOTOS / BIG[0]).convert("L").resize((2501, 2001)), quality=90)
    yield "mosaic", jpeg(mosaic(1780), quality=90)


@pytest.fixture(scope="module")
def photos() -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in JPEGS} | dict(big_jpegs())


@dataclass(frozen=True)
class Comparison:
    """By spec: whether the decoder scaled, and the mean absolute difference of the tensors, in levels."""

    name: str
    scaled: list[bool]
    levels: list[float]
    top_answers: list[int]


def levels_apart(full: Picture, small: Picture, spec: PreprocessSpec) -> float:
    exact, scaled = Preprocessor(spec, exact_decode=True), Preprocessor(spec)
    assert small.info == full.info
    difference = np.abs(exact(full).astype(np.float64) - scaled(small).astype(np.float64)).mean()
    return float(difference) * min(spec.std) / spec.rescale_factor


def top_answer(model: LoadedModel, preprocessor: Preprocessor, picture: Picture) -> int:
    frame = preprocessor.frame(picture.info.size)
    (best,) = model.task.postprocess(model.infer(preprocessor(picture), frame), frame, PredictOptions(top_k=1))
    assert isinstance(best, Classification)
    return best.class_id


@pytest.fixture(scope="module", params=["opencv", "pillow"])
def comparisons(request: pytest.FixtureRequest, photos: dict[str, bytes]) -> list[Comparison]:
    """Of each photo, which is decoded in full once."""
    loader = create_image_loader(request.param)
    version = ModelRepository(ROOT / "models").find("efficientnet-lite0")
    model = load_model(version, create_model_loader("onnxruntime"), SessionOptions())
    exact = Preprocessor(model.spec.preprocess, exact_decode=True)
    found = []
    for name, data in photos.items():
        full = loader.load(data)
        assert full.pixels.shape[:2] == (full.info.height, full.info.width)
        small = [loader.load(data, Preprocessor(spec).decode_size) for spec in SPECS]
        picture = loader.load(data, model.preprocessor.decode_size)
        answers = [top_answer(model, exact, full), top_answer(model, model.preprocessor, picture)]
        levels = [levels_apart(full, one, spec) for one, spec in zip(small, SPECS, strict=True)]
        found.append(Comparison(name, [one.pixels.shape != full.pixels.shape for one in small], levels, answers))
    return found


def test_a_scaled_decode_is_near_the_full_one(comparisons: list[Comparison]) -> None:
    for spec in range(len(SPECS)):
        assert sum(one.scaled[spec] for one in comparisons) >= len(comparisons) - 2, "few scaled decodes"
    assert [one for one in comparisons if max(one.levels) > MAX_LEVELS] == []


def test_a_scaled_decode_gives_the_same_top_answer(comparisons: list[Comparison]) -> None:
    assert [one for one in comparisons if len(set(one.top_answers)) > 1] == []
