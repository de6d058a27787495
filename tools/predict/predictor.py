"""Answers about pictures from a model in this process."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from api.settings import ApiSettings
from engine.drawing import UndrawableError
from engine.explain.explainer import Explainer, ExplainRequest
from engine.explain.target import ExplainError, TargetQuery
from engine.models.default_model import DefaultModel
from engine.models.load import load_model
from engine.models.loaded_model import LoadedModel, ModelRef
from engine.models.tuner import Tuner
from engine.pipeline import predict, predict_with_picture
from engine.scheduling.run_context import alone, completed
from engine.scheduling.run_plan import RunLimits
from engine.tasks.predictions import Prediction
from engine.tasks.task import InvalidOutputError, PredictOptions
from loaders.image_loader import create_image_loader
from loaders.images.base import ImageInfo, ImageLoader, ImageLoaderOptions, Picture
from loaders.images.errors import ImageError
from loaders.model_errors import ModelRunError
from loaders.model_loader import create_model_loader
from loaders.repository.model_repository import ModelRepository, ModelVersion
from loaders.repository.model_state import ModelStateFile
from loaders.runtimes.base import SessionOptions
from utils.cpu_budget import cpu_budget
from utils.time_utils import StageTimer

# What one picture may raise; the next one is not concerned.
FAILURES = (ImageError, InvalidOutputError, ModelRunError, UndrawableError, ExplainError, MemoryError, OSError)


def reason_of(failure: BaseException) -> str:
    return (failure.strerror if isinstance(failure, OSError) else None) or str(failure)


def image_loader_of(settings: ApiSettings) -> ImageLoader:
    limits = ImageLoaderOptions(settings.max_image_pixels, settings.accept_truncated)
    return create_image_loader(options=limits)


def version_of(settings: ApiSettings, name: str | None) -> ModelVersion:
    """The version that the service would use. `name`: None for the default model. Raises UnknownModelError."""
    catalog = ModelRepository(settings.models_dir).scan().catalog
    choices = ModelStateFile(settings.models_dir).read()
    default = DefaultModel(settings.default_model)
    default.update(catalog, choices)
    return choices.version(catalog, name or default.name)


@dataclass(frozen=True, slots=True)
class Answered:
    """`picture`: decoded in full, if that was requested."""

    model: ModelRef
    image: ImageInfo
    predictions: Sequence[Prediction]
    timings_ms: dict[str, float]
    picture: Picture | None = None


class Predictor(Protocol):
    """`model` answers, with `labels` by class id; `concurrency` pictures at once. May be used from many threads."""

    model: ModelRef
    labels: Sequence[str]
    concurrency: int

    def __call__(self, data: bytes, options: PredictOptions, *, with_picture: bool) -> Answered:
        """Raises ImageError, InvalidOutputError, ModelRunError, OSError."""

    def explain(self, data: bytes, query: TargetQuery, media_type: str) -> bytes:
        """The picture with a heat map of the answer over it. Raises ExplainError, and what a call raises."""

    def close(self) -> None:
        """Closes connections."""


class LocalPredictor:
    """The version that the service would use.

    One picture runs on all cores (`alone`), several run on one core each, so that their scores do not depend on
    how many there are.
    """

    def __init__(self, settings: ApiSettings, name: str | None, image_loader: ImageLoader, *, alone: bool) -> None:
        """Raises ModelError, OSError."""
        cores = cpu_budget()
        self.concurrency, self._cores = (1, cores) if alone else (cores, 1)  # of each run
        self._image_loader = image_loader
        self._model = _load(settings, name, alone=alone)
        self.model = self._model.ref
        self.labels: Sequence[str] = self._model.spec.labels

    def __call__(self, data: bytes, options: PredictOptions, *, with_picture: bool) -> Answered:
        timer, picture = StageTimer(), None
        context = alone(timer, self._cores)
        if with_picture:
            answer, picture = predict_with_picture(self._model, self._image_loader, data, options, context)
        else:
            [answer] = completed(predict([self._model], self._image_loader, data, options, context))
        return Answered(answer.model, answer.image, answer.predictions, timer.as_ms(), picture)

    def explain(self, data: bytes, query: TargetQuery, media_type: str) -> bytes:
        context = alone(StageTimer(), self._cores)
        explainer = Explainer(self._image_loader, ExplainRequest(data, None, query, overlay=media_type))
        explainer.begin(self._model, context)
        while not explainer.complete:
            explainer.scores.append(explainer.next_score(context))
        return explainer.finish(context).drawn

    def close(self) -> None:
        """There is nothing to close."""


def _load(settings: ApiSettings, name: str | None, *, alone: bool) -> LoadedModel:
    version = version_of(settings, name)
    model_loader, cores = create_model_loader(settings.reference_loader), cpu_budget()
    options = SessionOptions(settings.providers, threads=cores if alone else 1)
    model = load_model(version, model_loader, options, exact_decode=settings.exact_decode)
    if alone:
        return model
    return Tuner(model_loader, options, cores, limits=RunLimits(intra_op_threads=1, batch=1))(model, version)
