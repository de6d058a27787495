"""Insertion and deletion (Petsiuk et al. 2018), the pointing game (Zhang et al. 2018), and other weights."""

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeVar

import cv2
import numpy as np
import onnx
from onnx import numpy_helper

from engine.explain.explainer import Method
from engine.explain.target import TargetQuery
from engine.models.loaded_model import LoadedModel
from engine.tasks.predictions import Box, Detection, iou
from tests.e2e.explain.maps import (
    Annotated,
    Array,
    Photo,
    centred_gaussian,
    class_scores,
    in_input,
    input_tensor,
    random_map,
)
from tests.engine.explain.explaining import explain, loaded
from tests.engine.tasks.real_models import infer
from tests.paths import ROOT
from utils.cpu_budget import cpu_budget

T = TypeVar("T")
R = TypeVar("R")

STEPS = 14
SAMPLES = 300
_BLUR_SIGMA = 5.0  # of insertion in the paper's code, pixels of an input of 224


def on_all_cores(measure: Callable[[T], R], items: Iterable[T]) -> list[R]:
    with ThreadPoolExecutor(cpu_budget()) as threads:
        return list(threads.map(measure, items))


@dataclass(frozen=True)
class Areas:
    """Areas under the curves of the score over the part of the picture that is shown, or gone: 0 to 1."""

    insertion: float
    deletion: float


def maps_of(model: LoadedModel, photo: Photo, samples: int = SAMPLES) -> dict[str, Array]:
    data, query = photo.file.read_bytes(), TargetQuery(class_id=photo.class_id)
    side = model.preprocessor.target.width
    made = {f"`{method}`": in_input(model, explain(model, data, query, method, samples=samples)) for method in Method}
    return made | {"random": random_map(side, seed=photo.class_id), "centred Gaussian": centred_gaussian(side)}


def areas(model: LoadedModel, photo: Photo, heat: Array) -> Areas:
    """Pixels in the order of the map appear in the blurred picture, or are blurred in the picture."""
    tensor = input_tensor(model, photo.file)
    pixels = np.ascontiguousarray(np.moveaxis(tensor[0], 0, -1))
    blurred = np.moveaxis(cv2.GaussianBlur(pixels, (0, 0), _BLUR_SIGMA), -1, 0)[np.newaxis]
    rank = np.empty(heat.size, np.intp)
    rank[np.argsort(-heat, axis=None, kind="stable")] = np.arange(heat.size)
    chosen = [(rank < round(heat.size * step / STEPS)).reshape(heat.shape) for step in range(STEPS + 1)]
    score = partial(class_scores, model, class_id=photo.class_id)
    inserted = score(np.concatenate([np.where(one, tensor, blurred) for one in chosen]))
    deleted = score(np.concatenate([np.where(one, blurred, tensor) for one in chosen]))
    return Areas(float(np.trapezoid(inserted)) / STEPS, float(np.trapezoid(deleted)) / STEPS)


@dataclass(frozen=True)
class Pointed:
    """Whether the peak of an object's map lies in its annotated box, which covers `share` of the picture."""

    target: Annotated
    hit: bool
    share: float


def pointing_game(
    detector: LoadedModel, method: Method, targets: Sequence[Annotated], samples: int = SAMPLES
) -> list[Pointed]:
    """Of the detections of annotated objects."""
    return on_all_cores(partial(_pointed, detector, method, samples), targets)


def _pointed(detector: LoadedModel, method: Method, samples: int, one: Annotated) -> Pointed:
    answered = infer(detector, one.file.read_bytes())
    detections = [p for p in answered.predictions if isinstance(p, Detection) and p.label == one.label]
    detection = max(detections, key=lambda found: iou(found.box, one.box))
    explanation = explain(
        detector, one.file.read_bytes(), TargetQuery(one.label, box=detection.box), method, samples=samples
    )
    x, y = explanation.heat_map.peak
    share = _area(one.box) / answered.picture.info.size.pixels
    return Pointed(one, one.box.xmin <= x <= one.box.xmax and one.box.ymin <= y <= one.box.ymax, share)


def shuffled(name: str, folder: Path) -> LoadedModel:
    """A model of the repository whose weights of several dimensions are shuffled within each tensor."""
    source, chance = ROOT / "models" / name, np.random.default_rng(0)
    graph = onnx.load(source / "1" / "model.onnx")
    for tensor in graph.graph.initializer:
        if len(tensor.dims) > 1:
            values = chance.permutation(numpy_helper.to_array(tensor).ravel()).reshape(tuple(tensor.dims))
            tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))
    return loaded(folder, graph, (source / "model.toml").read_text(encoding="utf-8"))


def correlation(one: Array, other: Array) -> float:
    """Pearson's."""
    return float(np.corrcoef(one.ravel(), other.ravel())[0, 1])


def _area(box: Box) -> float:
    return (box.xmax - box.xmin) * (box.ymax - box.ymin)
