"""Samples of the tiny model `colour`: pictures of one colour, with the answers that its graph gives."""

import json
from pathlib import Path
from typing import Any

import numpy as np

from tests.pictures_by_colour import colour_picture
from tests.tiny_models import COLOURS, SIDE


def colour_sample(colour: str, gain: float = 10.0, **changed: Any) -> dict[str, Any]:  # noqa: ANN401 - fields of JSON
    """The softmax of `gain` for the picture's own colour; the input tensor and the logits."""
    pixels = np.zeros((1, 3, SIDE, SIDE))
    pixels[0, COLOURS.index(colour)] = 1.0
    logits = pixels.mean((2, 3)) * gain
    scores = np.exp(logits[0]) / np.exp(logits[0]).sum()
    predictions = [{"class_id": i, "label": label, "score": float(scores[i])} for i, label in enumerate(COLOURS)]
    sample = {
        "file": f"{colour}.png",
        "predictions": predictions,
        "input": {"shape": [1, 3, SIDE, SIDE], "values": pixels.reshape(-1)[_positions(pixels.size, 96)].tolist()},
        "outputs": {"logits": {"shape": [1, 3], "values": logits[0].tolist()}},
    }
    return sample | changed


def add_samples(folder: Path, *samples: dict[str, Any], tolerance: float = 0.02, **changed: object) -> Path:
    """Writes expected.json and the pictures into the folder `samples` of a model or version; returns it."""
    target = folder / "samples"
    target.mkdir(parents=True, exist_ok=True)
    for colour in ("red", "lime", "blue"):
        name = "green" if colour == "lime" else colour
        (target / f"{name}.png").write_bytes(colour_picture(colour))
    made = {"framework": "NumPy", "date": "2026-11-28", "how": "a mean of each channel", "versions": {"numpy": "2"}}
    expected = {"made": made, "tolerance": tolerance, "samples": list(samples)} | changed
    (target / "expected.json").write_text(json.dumps(expected))
    return target


def _positions(size: int, count: int) -> Any:  # noqa: ANN401 - an array of integers
    return np.linspace(0, size - 1, count).astype(np.int64)
