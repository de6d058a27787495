"""The shipped models: the slow cases of tests/engine/models/test_samples.py and of tests/engine/tasks."""

import base64
import shutil
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from engine.tasks.predictions import Segment
from tests.engine.models.test_samples import check, problem
from tests.engine.tasks.real_models import DATA, PHOTOS, infer, load, one_thread_session
from tests.paths import ROOT

GRAPH = ROOT / "models" / "u2netp" / "1" / "model.onnx"


def reference_mask(file: Path) -> NDArray[np.uint8]:
    """By the pipeline of rembg in plain Pillow and NumPy."""
    image = Image.open(file).convert("RGB")
    pixels = np.asarray(image.resize((320, 320), Image.Resampling.LANCZOS), np.float64)
    normalised = (pixels / pixels.max() - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]
    session = one_thread_session(GRAPH)
    tensor = normalised.transpose(2, 0, 1)[None].astype(np.float32)
    matte = session.run(None, {session.get_inputs()[0].name: tensor})[0][0, 0]
    grey = ((matte - matte.min()) / (matte.max() - matte.min()) * 255).astype(np.uint8)
    return np.asarray(Image.fromarray(grey).resize(image.size, Image.Resampling.LANCZOS))


def assert_mask_equals_the_reference(file: Path) -> None:
    """Measured: no difference."""
    (segment,) = infer(load("u2netp"), file.read_bytes()).predictions
    assert isinstance(segment, Segment)
    mask = np.asarray(Image.open(BytesIO(base64.b64decode(segment.mask))), np.int16)
    difference = np.abs(mask - reference_mask(file))
    assert difference.max() <= 2
    assert mask.max() > 250
    assert mask.min() < 5


@pytest.mark.parametrize("photo", [DATA / "cat.jpg", PHOTOS / "2011_000025.jpg"], ids=lambda photo: photo.name)
def test_the_mask_equals_the_reference(photo: Path) -> None:
    assert_mask_equals_the_reference(photo)


def test_u2netp_agrees_with_its_framework() -> None:
    report = check(ROOT / "models", "u2netp")
    assert report
    assert report.agreeing == report.count


@pytest.mark.parametrize(
    ("name", "change", "found"),
    [
        ("efficientnet-lite0-embed", ("[127.0, 127.0, 127.0]", "[0.0]"), "part at preprocessing"),
        ("picodet-s-416", ('"stretch"', '"letterbox"'), "part at preprocessing"),
        ("picodet-s-416", ("iou_threshold = 0.6", "iou_threshold = 1.0"), "part at postprocessing"),
        ("u2netp", ("rescale_by_max = true", "rescale_factor = 1.0"), "part at preprocessing"),
    ],
)
def test_a_shipped_model_with_a_wrong_recipe_disagrees(
    tmp_path: Path, name: str, change: tuple[str, str], found: str
) -> None:
    shutil.copytree(ROOT / "models" / name, tmp_path / name)
    spec = tmp_path / name / "model.toml"
    assert change[0] in spec.read_text()
    spec.write_text(spec.read_text().replace(*change))
    assert found in problem(tmp_path, name)
