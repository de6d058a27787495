"""The default model on 41 labelled photos: correct labels, and the scores of the reference pipeline.

The reference is plain Pillow, written here: upright, alpha over white, the shortest edge to 256 (bicubic, the long edge
to the nearest), the centre 224 x 224 from the rounded-down offset, (x - 127) / 128.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageOps

from engine.models.load import load_model
from engine.models.loaded_model import LoadedModel
from engine.tasks.task import Classification, PredictOptions
from loaders.image_loader import create_image_loader
from loaders.model_loader import create_model_loader
from loaders.repository.model_repository import ModelRepository
from loaders.runtimes.base import SessionOptions
from tests.engine.tasks.real_models import one_thread_session
from tests.paths import ROOT

PHOTOS = ROOT / "tests" / "data" / "photos"
GRAPH = ROOT / "models" / "efficientnet-lite0" / "1" / "model.onnx"
MANIFEST: list[dict[str, Any]] = json.loads((PHOTOS / "manifest.json").read_text(encoding="utf-8"))
FILES = [entry["file"] for entry in MANIFEST]
ALL_CLASSES = PredictOptions(top_k=1000)

LEVEL = 1 / 128  # one of 256, in the tensor


@dataclass(frozen=True)
class Bounds:
    """Maximum distances from the reference: `levels` and `mean_levels` of the tensor, the others absolute."""

    levels: float
    mean_levels: float
    logits: float
    probability: float


# Measured on these photos: 0 with an exact decode; 10, 0.30, 0.13, 0.0010 with a scaled one.
# `probability` is against the manifest, whose own rounding is 0.00005.
BOUNDS = {
    True: Bounds(levels=0, mean_levels=0, logits=1e-4, probability=6e-5),
    False: Bounds(levels=14, mean_levels=0.4, logits=0.2, probability=0.004),
}


@pytest.fixture(scope="module")
def models() -> dict[bool, LoadedModel]:
    """By `exact_decode`."""
    version = ModelRepository(ROOT / "models").find("efficientnet-lite0")
    loader = create_model_loader("onnxruntime")
    return {exact: load_model(version, loader, SessionOptions(), exact_decode=exact) for exact in (True, False)}


@dataclass(frozen=True)
class Reference:
    tensor: NDArray[np.float32]
    logits: NDArray[np.float32]


@pytest.fixture(scope="module")
def references() -> dict[str, Reference]:
    session = one_thread_session(GRAPH)
    found = {}
    for file in FILES:
        tensor = reference_tensor(PHOTOS / file)
        (logits,) = session.run(None, {session.get_inputs()[0].name: tensor})
        found[file] = Reference(tensor, logits[0])
    return found


def reference_tensor(path: Path) -> NDArray[np.float32]:
    with Image.open(path) as opened:
        image = ImageOps.exif_transpose(opened)
    if image.has_transparency_data:
        layer = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer)
    image = image.convert("RGB")
    scale = 256 / min(image.size)
    image = image.resize((round(image.width * scale), round(image.height * scale)), Image.Resampling.BICUBIC)
    left, top = (image.width - 224) // 2, (image.height - 224) // 2
    pixels = np.asarray(image.crop((left, top, left + 224, top + 224)), np.float64)
    return ((pixels - 127) / 128).transpose(2, 0, 1)[np.newaxis].astype(np.float32)


def softmax(logits: NDArray[np.float32]) -> NDArray[np.float64]:
    exponentials = np.exp(logits.astype(np.float64) - float(logits.max()))
    return np.asarray(exponentials / exponentials.sum())


def test_there_are_41_photos() -> None:
    assert len(FILES) == 41


@pytest.mark.parametrize(
    ("loader_name", "exact"),
    [("opencv", True), ("opencv", False), pytest.param("pillow", False, marks=pytest.mark.slow)],
)
@pytest.mark.parametrize("entry", MANIFEST, ids=lambda entry: entry["file"])
def test_tensor_logits_and_scores_are_those_of_the_reference_and_the_label_is_correct(
    models: dict[bool, LoadedModel],
    references: dict[str, Reference],
    loader_name: str,
    exact: bool,
    entry: dict[str, Any],
) -> None:
    """An exact decode by Pillow equals OpenCV's in every bit: tests/test_img_loader.py."""
    model, loader, bounds = models[exact], create_image_loader(loader_name), BOUNDS[exact]
    reference = references[entry["file"]]
    picture = loader.load((PHOTOS / entry["file"]).read_bytes(), model.preprocessor.decode_size)
    tensor, frame = model.preprocessor(picture), model.preprocessor.frame(picture.info.size)
    levels = np.abs(tensor.astype(np.float64) - reference.tensor) / LEVEL
    assert levels.max() <= bounds.levels
    assert levels.mean() <= bounds.mean_levels
    outputs = model.infer(tensor, frame)
    (logits,) = outputs.values()
    assert np.abs(logits[0] - reference.logits).max() <= bounds.logits
    found = [one for one in model.task.postprocess(outputs, frame, ALL_CLASSES) if isinstance(one, Classification)]
    assert found[0].class_id in entry["accept"]
    scores = {one.class_id: one.score for one in found}
    expected = entry["reference"]
    assert scores[expected["class_id"]] == pytest.approx(expected["probability"], abs=bounds.probability)


def test_the_manifest_equals_the_reference(references: dict[str, Reference]) -> None:
    for entry in MANIFEST:
        scores = softmax(references[entry["file"]].logits)
        assert int(scores.argmax()) == entry["reference"]["class_id"]
        assert scores.max() == pytest.approx(entry["reference"]["probability"], abs=6e-5)
