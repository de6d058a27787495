"""Explanations of tiny models, outside the service."""

from pathlib import Path

import onnx

from engine.explain.explainer import Explainer, ExplainRequest, Explanation, Method
from engine.explain.target import TargetQuery
from engine.models.load import load_model
from engine.models.loaded_model import LoadedModel
from engine.scheduling.run_context import alone
from loaders.image_loader import create_image_loader
from loaders.model_loader import create_model_loader
from loaders.repository.model_repository import ModelRepository
from loaders.runtimes.base import SessionOptions
from tests.tiny_models import add_model
from utils.time_utils import StageTimer

TOP = TargetQuery()


def loaded(folder: Path, graph: onnx.ModelProto, spec: str, labels: tuple[str, ...] = ()) -> LoadedModel:
    add_model(folder, "m", graph, spec=spec, labels=labels or None)
    return load_model(ModelRepository(folder).find("m"), create_model_loader("onnxruntime"), SessionOptions())


def explain(
    model: LoadedModel,
    image: bytes,
    query: TargetQuery = TOP,
    method: Method = Method.OCCLUSION,
    *,
    reference: bytes | None = None,
    samples: int = 200,
    seed: int = 0,
) -> Explanation:
    request = ExplainRequest(image, reference, query, method, samples, seed)
    explainer, context = Explainer(create_image_loader("opencv"), request), alone(StageTimer())
    explainer.begin(model, context)
    while not explainer.complete:
        explainer.scores.append(explainer.next_score(context))
    return explainer.finish(context)
