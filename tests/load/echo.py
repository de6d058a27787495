"""A model that answers with a picture's colour, and pictures of different colours, so that answers can be matched."""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

from PIL import Image

from tests.tiny_models import SIDE, add_model, colour_graph

# Version n answers with n * GAIN * colour, so that the answer shows the version, too.
GAIN = 10.0
_SPEC = f"""
task = "tensor"

[preprocess]
resize = "stretch"
size = [{SIDE}, {SIDE}]
mean = [0.0]
std = [1.0]
"""
_STEP = 16  # levels between two colours
_EXACT, _NEARLY = 0.6, 5.0  # levels
_FORMATS: tuple[tuple[str, dict[str, object], float], ...] = (
    ("PNG", {}, _EXACT),
    ("BMP", {}, _EXACT),
    ("WEBP", {"lossless": True}, _EXACT),
    ("TIFF", {}, _EXACT),
    ("JPEG", {"quality": 95, "subsampling": 0}, _NEARLY),
)
_SIDES = (8, 33, 64, 200, 640)


@dataclass(frozen=True, slots=True)
class Coloured:
    """An encoded picture and its colour, 0 to 255. The decoded colour may differ by `tolerance`."""

    data: bytes
    colour: tuple[int, int, int]
    tolerance: float


def coloured_pictures(seed: int, count: int) -> list[Coloured]:
    """Pictures of different colours in random formats and sizes."""
    chance = random.Random(seed)
    levels = range(0, 256, _STEP)
    colours = chance.sample([(r, g, b) for r in levels for g in levels for b in levels], count)
    return [_picture(chance, colour) for colour in colours]


def add_echo(models: Path, name: str, versions: Sequence[int]) -> None:
    """Adds the model in these versions."""
    for version in versions:
        add_model(models, name, colour_graph(gain=GAIN * version), version=version, spec=_SPEC, labels=None)


def judge(result: dict[str, Any], picture: Coloured, version: int | None = None) -> str:
    """Returns `right`, or what is wrong: another picture's colour, or another version."""
    answered = result["model"]["version"]
    if version is not None and answered != version:
        return f"wrong: version {answered} instead of {version}"
    [output] = result["predictions"]
    found = [value * 255 / (GAIN * answered) for value in output["data"]]
    if any(abs(level - true) > picture.tolerance for level, true in zip(found, picture.colour, strict=True)):
        return f"wrong: {[round(level, 1) for level in found]} instead of {picture.colour}, version {answered}"
    return "right"


def _picture(chance: random.Random, colour: tuple[int, int, int]) -> Coloured:
    image_format, options, tolerance = chance.choice(_FORMATS)
    buffer = BytesIO()
    size = chance.choice(_SIDES), chance.choice(_SIDES)
    Image.new("RGB", size, colour).save(buffer, image_format, **options)
    return Coloured(buffer.getvalue(), colour, tolerance)
