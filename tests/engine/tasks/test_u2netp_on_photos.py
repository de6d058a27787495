"""The background-removal model against the pipeline of rembg in plain Pillow and NumPy."""

import base64
from io import BytesIO
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from engine.tasks.predictions import Segment
from tests.engine.tasks.real_models import DATA, infer, load, one_thread_session
from tests.paths import ROOT

GRAPH = ROOT / "models" / "u2netp" / "1" / "model.onnx"


def reference_mask(file: Path) -> NDArray[np.uint8]:
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


def test_the_mask_equals_the_reference() -> None:
    """tests/e2e/test_shipped_models.py has another photo."""
    assert_mask_equals_the_reference(DATA / "cat.jpg")
