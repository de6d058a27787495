"""How well recipes explain labelled pictures, and whether the pictures separate two recipes."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from engine.models.loaded_model import LoadedModel
from engine.tasks.activations import ACTIVATIONS
from loaders.model_errors import ModelError
from loaders.repository.specs import ResolvedSpec
from loaders.tensors import Tensor
from tools.recipes.candidates import Recipe
from tools.recipes.labelled import LabelledPhoto

# A probability below counts as this one, so that a single picture cannot decide.
_LEAST = 1e-3
# A recipe that is this many standard errors behind after a third of the pictures is not measured on the others.
_HOPELESS = 4.0
_FEW = 6
# The pictures do not separate the best recipe from those within this many standard errors.
NOT_SEPARATED = 2.0
# Of recipes this near the best one, the most common is chosen.
_AS_GOOD = 1.0


@dataclass(frozen=True, slots=True)
class Evidence:
    """Of each picture: whether the best class is right, and the probability of the right classes."""

    recipe: Recipe
    right: NDArray[np.bool_]
    probability: NDArray[np.float64]

    @property
    def accuracy(self) -> float:
        return float(self.right.mean())

    @property
    def confidence(self) -> float:
        return float(self.probability.mean())

    @property
    def log_likelihoods(self) -> NDArray[np.float64]:
        return np.asarray(np.log(np.maximum(self.probability, _LEAST)))

    def behind(self, best: "Evidence") -> float:
        """By how many standard errors this recipe is worse: the paired difference of the log-likelihoods."""
        apart = best.log_likelihoods - self.log_likelihoods
        noise = float(apart.std(ddof=1)) / math.sqrt(len(apart)) if len(apart) > 1 else math.inf
        return float(apart.mean()) / noise if noise else math.copysign(math.inf, apart.mean()) if apart.any() else 0.0

    def __add__(self, other: "Evidence") -> "Evidence":
        return Evidence(
            self.recipe,
            np.concatenate([self.right, other.right]),
            np.concatenate([self.probability, other.probability]),
        )


@dataclass(frozen=True, slots=True)
class Ranking:
    """`measured`: the best first. `chosen`: the most common recipe of those within a standard error of the best."""

    measured: list[Evidence]
    chosen: Evidence

    @property
    def not_separated(self) -> list[Evidence]:
        """Recipes that the pictures do not separate from the best one, without the chosen one."""
        near = (e for e in self.measured if e.behind(self.measured[0]) < NOT_SEPARATED)
        return [evidence for evidence in near if evidence is not self.chosen]


def rank(
    model: LoadedModel, recipes: Iterable[Recipe], photos: Sequence[LabelledPhoto], progress: Callable[[str], None]
) -> Ranking:
    """Measures recipes, which come with the most common first. Raises ModelError if the graph takes none of them."""
    first = max(len(photos) // 3, min(_FEW, len(photos)))
    started = [found for recipe in recipes if (found := _try(model, recipe, photos[:first], progress))]
    if not started:
        raise ModelError("the graph fails with every recipe; is it a classifier of pictures?")
    if len(photos) > first:
        best = _best(started)
        hopeful = [evidence for evidence in started if evidence.behind(best) < _HOPELESS]
        measured = [e + _measure(model, e.recipe, photos[first:], progress) for e in hopeful]
    else:
        measured = started
    best = _best(measured)
    chosen = next(evidence for evidence in measured if evidence.behind(best) < _AS_GOOD)
    return Ranking(sorted(measured, key=lambda e: -e.log_likelihoods.mean()), chosen)


def _best(measured: Sequence[Evidence]) -> Evidence:
    return max(measured, key=lambda e: float(e.log_likelihoods.mean()))


def _try(
    model: LoadedModel, recipe: Recipe, photos: Sequence[LabelledPhoto], progress: Callable[[str], None]
) -> Evidence | None:
    """Returns None if the graph does not take the recipe's tensors."""
    try:
        return _measure(model, recipe, photos, progress)
    except ModelError:
        return None


def _measure(
    model: LoadedModel, recipe: Recipe, photos: Sequence[LabelledPhoto], progress: Callable[[str], None]
) -> Evidence:
    progress(str(recipe))
    resolved = ResolvedSpec(model.spec.model_copy(update={"preprocess": recipe.spec}), {}, ())
    candidate = LoadedModel(model.ref, model.runner, resolved)
    rows = [_scores(candidate, photo) for photo in photos]
    right = [int(scores.argmax()) in photo.classes for scores, photo in zip(rows, photos, strict=True)]
    probability = [scores[list(photo.classes)].sum() for scores, photo in zip(rows, photos, strict=True)]
    return Evidence(recipe, np.array(right), np.array(probability, np.float64))


def _scores(model: LoadedModel, photo: LabelledPhoto) -> NDArray[np.float64]:
    frame = model.preprocessor.frame(photo.picture.info.size)
    return class_scores(model, model.infer(model.preprocessor(photo.picture), frame))


def class_scores(model: LoadedModel, outputs: Mapping[str, Tensor]) -> NDArray[np.float64]:
    """Of all classes, with a sum of 1, also if they are independent (sigmoid)."""
    name = model.spec.outputs[0] if model.spec.outputs else next(iter(outputs))
    scores = ACTIVATIONS[model.spec.activation](outputs[name].reshape(-1).astype(np.float32)).astype(np.float64)
    finite = np.nan_to_num(scores, nan=0.0)
    return np.asarray(finite / max(finite.sum(), _LEAST))
