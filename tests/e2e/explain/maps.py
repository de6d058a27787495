"""Heat maps of the repository's models, outside the service, and maps to compare them with."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from engine.explain.explainer import Explainer, ExplainRequest, Explanation, Method
from engine.explain.target import Question
from engine.models.loaded_model import LoadedModel
from engine.scheduling.run_context import alone
from loaders.image_loader import create_image_loader
from loaders.images.base import Picture
from tests.paths import ROOT
from utils.time_utils import StageTimer

PHOTOS = ROOT / "tests" / "data" / "photos"
_GAUSSIAN_SIGMA = 0.25  # of each side

Array = NDArray[np.float32]


@dataclass(frozen=True)
class Photo:
    """A photo and the class that its label names; where ImageNet has several near ones, the model's choice of them."""

    file: Path
    class_id: int


@cache
def photos() -> tuple[Photo, ...]:
    manifest = json.loads((PHOTOS / "manifest.json").read_text(encoding="utf-8"))
    return tuple(Photo(PHOTOS / one["file"], one["reference"]["class_id"]) for one in manifest)


def explain(
    model: LoadedModel, data: bytes, question: Question, method: Method = Method.OCCLUSION, samples: int = 300
) -> Explanation:
    explainer = Explainer(create_image_loader("opencv"), ExplainRequest(data, None, question, method, samples))
    context = alone(StageTimer())
    explainer.begin(model, context)
    while not explainer.complete:
        explainer.scores.append(explainer.next_score(context))
    return explainer.finish(context)


def on_region(explanation: Explanation) -> Array:
    """The map of the region that the model has seen, in its size."""
    size = explanation.heat_map.region.size
    return np.asarray(cv2.resize(explanation.heat_map.values, (size.width, size.height)), np.float32)


def random_map(like: Array, seed: int) -> Array:
    """Noise on a grid of 14 x 14, enlarged: as smooth as a map of occlusion."""
    noise = np.random.default_rng(seed).random((14, 14), np.float32)
    return np.asarray(cv2.resize(noise, like.shape[::-1], interpolation=cv2.INTER_LINEAR), np.float32)


def centred_gaussian(like: Array) -> Array:
    height, width = like.shape
    y, x = np.mgrid[0:height, 0:width]
    across, down = (x + 0.5) / width - 0.5, (y + 0.5) / height - 0.5
    return np.asarray(np.exp(-(across**2 + down**2) / (2 * _GAUSSIAN_SIGMA**2)), np.float32)


def decoded(file: Path) -> Picture:
    return create_image_loader("opencv").load(file.read_bytes())


def class_score(model: LoadedModel, picture: Picture, class_id: int) -> float:
    frame = model.preprocessor.frame(picture.info.size)
    outputs = model.infer(model.preprocessor(picture), frame)
    return float(model.task.scores(outputs)[class_id])  # type: ignore[attr-defined]


def steps(order_by: Array, count: int) -> Iterator[NDArray[np.bool_]]:
    """The pixels with the highest values: 0, 1 / count, 2 / count ... 1 of all."""
    order = np.argsort(-order_by, axis=None, kind="stable")
    for step in range(count + 1):
        chosen = np.zeros(order_by.size, np.bool_)
        chosen[order[: round(len(order) * step / count)]] = True
        yield chosen.reshape(order_by.shape)
