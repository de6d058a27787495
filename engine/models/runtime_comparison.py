"""Compares another way of running a model with the reference: how far its answers are apart, and how fast it is."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

from engine.models.answer_difference import answer_difference, output_difference
from engine.models.int8_twin import check_twin
from engine.models.load import graph_in, load_model
from engine.models.loaded_model import LoadedModel
from engine.models.runtime_report import Comparison
from engine.models.samples import check_samples
from engine.scheduling.tuning import Subject, compare_speed
from loaders.images.base import ImageLoader, Picture
from loaders.repository.model_repository import ModelVersion
from loaders.repository.specs.model_spec import TaskName
from loaders.runtimes.base import ModelLoader, Precision, SessionOptions

# Differences up to this are rounding of float32.
EXACT_TOLERANCE = 1e-4


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
        precision = other.options.precision
        if precision is Precision.INT8:
            check_twin(self.version)
        expected, model = self._load(reference), self._load(other)
        if expected.spec.preprocess.follows_picture and _grows(model, expected):
            return Comparison(other.name, precision, rejected="its memory grows with each new size of picture")
        check_samples(model, self.version, self.image_loader, self.tolerance)
        differences = list(self._differences(expected, model, exact=precision is Precision.EXACT))
        if not differences:
            nothing = "nothing was found in the pictures of the comparison; samples with objects are needed"
            return Comparison(other.name, precision, rejected=nothing)
        largest = max(differences)
        result = Comparison(other.name, precision, largest)
        if largest > self.tolerance:
            return replace(result, rejected=f"its answers differ by {largest:.2g}, more than {self.tolerance:g}")
        before, after = compare_speed(self._subject(reference, expected), self._subject(other, model), self.cores)
        return replace(result, speed=after, reference_speed=before)

    def _differences(self, reference: LoadedModel, other: LoadedModel, *, exact: bool) -> Iterator[float]:
        """Those of the answers. `exact`: those of all outputs, too, which rounding alone may change."""
        classes = reference.spec.task is TaskName.IMAGE_CLASSIFICATION
        for picture in self._pictures(reference):
            tensor, frame = reference.preprocessor(picture), reference.preprocessor.frame(picture.info.size)
            outputs = reference.infer(tensor, frame), other.infer(tensor, frame)
            apart = answer_difference(reference, other, outputs, frame)
            if apart is not None:
                yield apart
            if exact and not classes:
                yield output_difference(*outputs)

    def _load(self, way: Way) -> LoadedModel:
        return load_model(self.version, way.loader, way.options, exact_decode=self.exact_decode)

    def _subject(self, way: Way, model: LoadedModel) -> Subject:
        options = replace(way.options, threads=self.cores)
        wide = way.loader.load(graph_in(self.version, options.precision), options)
        return Subject({1: model.session, self.cores: wide}, lambda _: model.black_picture(), lambda: False)

    def _pictures(self, model: LoadedModel) -> Iterator[Picture]:
        folder = self.version.samples
        expected = folder.read() if folder else None
        if folder is None or expected is None:
            yield from model.test_pictures()
            return
        for sample in expected.samples:
            yield self.image_loader.load(folder.picture(sample), model.preprocessor.decode_size)


def _grows(model: LoadedModel, reference: LoadedModel) -> bool:
    return model.session.grows_with_shapes and not reference.session.grows_with_shapes
