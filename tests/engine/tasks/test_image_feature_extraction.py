"""Vectors in every shape of exports, and those of the shipped model against plain Pillow."""

import base64
from pathlib import Path

import numpy as np
import orjson
import pytest
from numpy.typing import NDArray
from PIL import Image

from engine.models.loaded_model import LoadedModel
from engine.tasks.predictions import Embedding
from engine.tasks.task import InvalidOutputError, PredictOptions
from loaders.images.base import Size
from loaders.repository.specs.model_spec import ModelSpec, Resize, TaskName
from tests.engine.tasks.graphs import Array, Outputs, answer, frame_of
from tests.engine.tasks.real_models import DATA, as_png, infer, load, one_thread_session
from tests.paths import ROOT

FRAME = frame_of(Size(10, 10), Resize.STRETCH)
VECTOR = np.array([3, 0, -4], np.float32)
CAT = DATA / "cat.jpg"
GRAPH = ROOT / "models" / "efficientnet-lite0-embed" / "1" / "model.onnx"


def spec_of(**fields: object) -> ModelSpec:
    return ModelSpec.model_validate({"task": TaskName.IMAGE_FEATURE_EXTRACTION, **fields})


def embedding(folder: Path, outputs: Outputs, spec: ModelSpec, options: PredictOptions | None = None) -> Embedding:
    (found,) = answer(folder, outputs, spec, FRAME, options)
    assert isinstance(found, Embedding)
    return found


def vector_of(found: Embedding) -> Array:
    assert isinstance(found.embedding, list)
    assert len(found.embedding) == found.dimensions
    return np.array(found.embedding, np.float32)


@pytest.mark.parametrize(
    "output",
    [
        VECTOR[None],
        VECTOR[None, :, None, None],
        np.stack([VECTOR, VECTOR * 0, VECTOR * 9])[None],
        np.stack([VECTOR - 1, VECTOR + 1], axis=-1)[None, :, None],
        VECTOR[None].astype(np.float16),
    ],
    ids=["vector", "pooled map", "tokens", "map", "half precision"],
)
def test_the_vector_is_read_in_every_shape(output: Array, tmp_path: Path) -> None:
    found = embedding(tmp_path, {"features": output}, spec_of())
    assert (found.embedding, found.dimensions, found.encoding) == ([3.0, 0.0, -4.0], 3, "list")


@pytest.mark.parametrize("pooled", ["pooler_output", "image_embeds"])
def test_a_pooled_output_is_preferred_to_the_tokens(pooled: str, tmp_path: Path) -> None:
    outputs = {"last_hidden_state": np.ones((1, 5, 3), np.float32), pooled: VECTOR[None]}
    assert embedding(tmp_path, outputs, spec_of()).embedding == [3, 0, -4]
    named = spec_of(outputs=["last_hidden_state"])
    assert embedding(tmp_path, outputs, named).embedding == [1, 1, 1]


def test_normalize_by_the_request_or_the_spec(tmp_path: Path) -> None:
    outputs: Outputs = {"features": VECTOR[None]}
    unit = [0.6, 0.0, -0.8]
    assert embedding(tmp_path, outputs, spec_of(), PredictOptions(normalize=True)).embedding == unit
    assert embedding(tmp_path, outputs, spec_of(normalize=True)).embedding == unit
    assert embedding(tmp_path, outputs, spec_of(normalize=True), PredictOptions(normalize=False)).embedding == [
        3,
        0,
        -4,
    ]


def test_a_vector_of_zeros_is_unchanged(tmp_path: Path) -> None:
    assert embedding(tmp_path, {"features": np.zeros((1, 2), np.float32)}, spec_of(normalize=True)).embedding == [0, 0]


def test_base64_holds_little_endian_float32(tmp_path: Path) -> None:
    found = embedding(tmp_path, {"features": VECTOR[None]}, spec_of(), PredictOptions(encoding="base64"))
    assert (found.dimensions, found.encoding) == (3, "base64")
    assert isinstance(found.embedding, str)
    np.testing.assert_array_equal(np.frombuffer(base64.b64decode(found.embedding), "<f4"), VECTOR)


def test_a_list_has_the_shortest_exact_decimals(tmp_path: Path) -> None:
    vector = np.random.default_rng(0).normal(size=500).astype(np.float32)
    found = embedding(tmp_path, {"features": vector[None]}, spec_of())
    np.testing.assert_array_equal(vector_of(found), vector)
    assert len(orjson.dumps(found)) < 500 * 14


def test_a_vector_with_infinity_is_rejected(tmp_path: Path) -> None:
    with pytest.raises(InvalidOutputError, match="finite"):
        embedding(tmp_path, {"features": np.array([[1, np.inf]], np.float32)}, spec_of())


@pytest.fixture(scope="module")
def embedder() -> LoadedModel:
    return load("efficientnet-lite0-embed")


def shipped_vector(model: LoadedModel, data: bytes) -> Array:
    (found,) = infer(model, data).predictions
    assert isinstance(found, Embedding)
    return vector_of(found)


def reference_vector(file: Path) -> NDArray[np.float32]:
    """Pillow: shortest edge to 256, bicubic; the centre 224 x 224; (x - 127) / 128."""
    image = Image.open(file).convert("RGB")
    scale = 256 / min(image.size)
    resized = image.resize((round(image.width * scale), round(image.height * scale)), Image.Resampling.BICUBIC)
    left, top = (resized.width - 224) // 2, (resized.height - 224) // 2
    pixels = np.asarray(resized.crop((left, top, left + 224, top + 224)), np.float32)
    session = one_thread_session(GRAPH)
    output = session.run(None, {"images": ((pixels - 127) / 128).transpose(2, 0, 1)[None]})[0]
    return np.asarray(output[0], np.float32)


def test_the_shipped_model_gives_the_vector_of_the_reference(embedder: LoadedModel) -> None:
    """Measured: cosine 0.9996. The int8 graph amplifies the last bit of a pixel."""
    vector, reference = shipped_vector(embedder, as_png(CAT.read_bytes())), reference_vector(CAT)
    assert vector.shape == (1280,)
    assert np.linalg.norm(vector) == pytest.approx(1, abs=1e-5)
    assert vector @ reference > 0.999


def test_a_picture_is_similar_to_its_half_size(embedder: LoadedModel, tmp_path: Path) -> None:
    image = Image.open(CAT)
    image.resize((image.width // 2, image.height // 2)).save(tmp_path / "half.png")
    cat, half = (shipped_vector(embedder, file.read_bytes()) for file in (CAT, tmp_path / "half.png"))
    others = [shipped_vector(embedder, file.read_bytes()) for file in sorted((DATA / "detection").glob("*.jpg"))]
    assert cat @ half > 0.9
    assert all(cat @ other < 0.6 for other in others)
