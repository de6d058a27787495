"""The photos and models that heat maps are measured on, and maps to compare with."""

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from engine.explain.explainer import Explanation
from engine.models.loaded_model import LoadedModel
from engine.tasks.image_classification import ImageClassification
from engine.tasks.predictions import Box
from loaders.image_loader import create_image_loader
from loaders.images.base import Picture
from loaders.tensors import Tensor
from tests.paths import PHOTOS

DETECTION = PHOTOS.parent / "detection"
Array = NDArray[np.float32]

_GRID = 14
_GAUSSIAN_SIGMA = 0.25  # of each side


@dataclass(frozen=True)
class Photo:
    """A photo and the class of its label; of several near classes of ImageNet, the one that the model names."""

    file: Path
    class_id: int


@dataclass(frozen=True)
class Annotated:
    """An object in a photo of PASCAL VOC."""

    file: Path
    label: str
    box: Box


@cache
def photos() -> tuple[Photo, ...]:
    manifest = json.loads((PHOTOS / "manifest.json").read_text(encoding="utf-8"))
    return tuple(Photo(PHOTOS / one["file"], one["reference"]["class_id"]) for one in manifest)


@cache
def objects() -> tuple[Annotated, ...]:
    found = []
    for file in sorted(DETECTION.glob("*.json")):
        for shape in json.loads(file.read_text(encoding="utf-8"))["shapes"]:
            found.append(
                Annotated(file.with_suffix(".jpg"), shape["label"], Box(*shape["points"][0], *shape["points"][1]))
            )
    return tuple(found)


def decoded(file: Path) -> Picture:
    return create_image_loader("opencv").load(file.read_bytes())


def input_tensor(model: LoadedModel, file: Path) -> Tensor:
    return model.preprocessor(decoded(file))


def class_scores(model: LoadedModel, tensors: Tensor, class_id: int) -> list[float]:
    """Of a batch of tensors; the default model takes any number."""
    frame = model.preprocessor.frame(model.preprocessor.target)
    logits = model.infer(tensors, frame)
    assert isinstance(model.task, ImageClassification)
    return [
        float(model.task.scores({name: row[i] for name, row in logits.items()})[class_id]) for i in range(len(tensors))
    ]


def in_input(model: LoadedModel, explanation: Explanation) -> Array:
    """The map in the pixels of the default model's input: the centre of the picture, without padding."""
    target = model.preprocessor.target
    return np.asarray(cv2.resize(explanation.heat_map.values, (target.width, target.height)), np.float32)


def random_map(side: int, seed: int) -> Array:
    """Noise on a grid of 14 x 14, enlarged: as fine as a map by occlusion."""
    noise = np.random.default_rng(seed).random((_GRID, _GRID), np.float32)
    return np.asarray(cv2.resize(noise, (side, side), interpolation=cv2.INTER_LINEAR), np.float32)


def centred_gaussian(side: int) -> Array:
    place = (np.arange(side) + 0.5) / side - 0.5
    one = np.exp(-(place**2) / (2 * _GAUSSIAN_SIGMA**2))
    return np.asarray(np.outer(one, one), np.float32)
