"""Compares another way of running a model with the reference: how far its answers are apart, and how fast it is."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np

from engine.models.load import load_model
from engine.models.loaded_model import LoadedModel
from engine.models.runtime_report import Comparison
from engine.models.samples import check_samples
from engine.preprocessing.geometry import Frame
from engine.scheduling.tuning import Subject, compare_speed
from engine.tasks.predictions import Classification
from engine.tasks.task import InvalidOutputError, PredictOptions
from loaders.images.base import ImageLoader, Picture
from loaders.repository.model_repository import ModelVersion
from loaders.repository.specs.model_spec import TaskName
from loaders.runtimes.base import ModelLoader, SessionOptions
from loaders.tensors import Tensor

# Differences up to this are rounding of float32.
EXACT_TOLERANCE = 1e-4
_ALL_CLASSES = PredictOptions(top_k=1_000_000, threshold=0.0)


@dataclass(frozen=True, slots=True)
class Way:
    """A runtime with options for one thread."""

    name: str
    loader: ModelLoader
    options: SessionOptions


@dataclass(frozen=True, slots=True)
class Trial:
    """A version to run in two ways. `tolerance`: the largest difference of their answers."""

    version: ModelVersion
    image_loader: ImageLoader
    exact_decode: bool
    tolerance: float
    cores: int

    def compare(self, reference: Way, other: Way) -> Comparison:
        """Compares the answers to the model's samples, or else to a black and a noise picture, and then the speed.

        Raises ModelError if one of them cannot run the model, or if its answers are not those of the framework.
        """
        expected, model = self._load(reference), self._load(other)
        check_samples(model, self.version, self.image_loader, self.tolerance)
        result = Comparison(other.name, other.options.precision)
        for picture in self._pictures(expected):
            tensor, frame = expected.preprocessor(picture), expected.preprocessor.frame(picture.info.size)
            apart = answer_difference(expected, expected.infer(tensor, frame), model.infer(tensor, frame), frame)
            result = replace(result, difference=max(apart, result.difference or 0.0))
            if apart > self.tolerance:
                return replace(result, rejected=f"its answers differ by {apart:.2g}, more than {self.tolerance:g}")
        before, after = compare_speed(self._subject(reference, expected), self._subject(other, model), self.cores)
        return replace(result, speed=after, reference_speed=before)

    def _load(self, way: Way) -> LoadedModel:
        return load_model(self.version, way.loader, way.options, exact_decode=self.exact_decode)

    def _subject(self, way: Way, model: LoadedModel) -> Subject:
        wide = way.loader.load(self.version.graph, replace(way.options, threads=self.cores))
        return Subject({1: model.session, self.cores: wide}, lambda _: model.black_picture(), lambda: False)

    def _pictures(self, model: LoadedModel) -> Iterator[Picture]:
        folder = self.version.samples
        expected = folder.read() if folder else None
        if folder is None or expected is None:
            yield from model.test_pictures()
            return
        for sample in expected.samples:
            yield self.image_loader.load(folder.picture(sample), model.preprocessor.decode_size)


def answer_difference(
    model: LoadedModel, expected: Mapping[str, Tensor], found: Mapping[str, Tensor], frame: Frame
) -> float:
    """Returns the largest difference of a class's score, and 1 if another class comes first.

    Of other tasks, the largest difference of an output's values, relative to the largest of them.
    """
    if model.spec.task is not TaskName.IMAGE_CLASSIFICATION:
        return max((_tensor_difference(expected[name], found[name]) for name in expected), default=0.0)
    try:
        one, other = (model.task.postprocess(outputs, frame, _ALL_CLASSES) for outputs in (expected, found))
    except InvalidOutputError:
        return 1.0
    scores, others = (
        {prediction.class_id: prediction.score for prediction in answer if isinstance(prediction, Classification)}
        for answer in (one, other)
    )
    if next(iter(scores)) != next(iter(others), None):
        return 1.0
    return max(abs(score - others.get(class_id, 0.0)) for class_id, score in scores.items())


def _tensor_difference(expected: Tensor, found: Tensor) -> float:
    if expected.shape != found.shape:
        return 1.0
    if np.array_equal(expected, found, equal_nan=expected.dtype.kind == "f"):
        return 0.0
    one, other = expected.astype(np.float64), found.astype(np.float64)
    apart = float(np.abs(one - other).max() / (np.abs(one).max() or 1.0))
    return apart if np.isfinite(apart) else 1.0
