"""An activation that is inside the graph is not applied a second time."""

from pathlib import Path

import onnx
import pytest
from onnx import helper

from engine.models.load import load_model
from engine.pipeline import predict
from engine.scheduling.run_context import alone, completed
from engine.tasks.predictions import Classification
from engine.tasks.task import PredictOptions
from loaders.image_loader import create_image_loader
from loaders.model_loader import create_model_loader
from loaders.repository.model_repository import ModelRepository
from loaders.repository.specs.model_spec import Activation
from loaders.runtimes.base import SessionOptions
from tests.tiny_models import SPEC, add_model, colour_graph, solid_png
from utils.time_utils import StageTimer

WITHOUT_TASK = SPEC.replace('task = "image-classification"', "")


def softmax_inside(*, last: bool) -> onnx.ModelProto:
    """A softmax as the last operator, or hidden behind an addition of zero."""
    graph = colour_graph()
    graph.graph.node[2].output[0] = "raw"
    graph.graph.node.append(helper.make_node("Softmax", ["raw"], ["logits" if last else "scores"], axis=1))
    if not last:
        graph.graph.node.append(helper.make_node("Sub", ["gain", "gain"], ["nothing"]))
        graph.graph.node.append(helper.make_node("Add", ["scores", "nothing"], ["logits"]))
    return graph


@pytest.mark.parametrize(
    ("graph", "spec", "activation", "decided_by"),
    [
        (colour_graph(), WITHOUT_TASK, Activation.SOFTMAX, "assumed"),
        (softmax_inside(last=True), WITHOUT_TASK, Activation.NONE, "last operator"),
        (softmax_inside(last=False), WITHOUT_TASK, Activation.NONE, "warm-up"),
        (softmax_inside(last=False), 'activation = "softmax"\n' + WITHOUT_TASK, Activation.SOFTMAX, "model.toml"),
    ],
    ids=["logits", "softmax at the end", "softmax hidden", "softmax hidden, model.toml decides"],
)
def test_an_activation_inside_the_graph_is_found(
    tmp_path: Path, graph: onnx.ModelProto, spec: str, activation: Activation, decided_by: str
) -> None:
    add_model(tmp_path, "m", graph, spec=spec)
    model = load_model(ModelRepository(tmp_path).find("m"), create_model_loader("onnxruntime"), SessionOptions())
    assert model.spec.activation is activation
    assert decided_by in model.resolved.decided_by["activation"]
    picture = solid_png("red")
    [answer] = completed(
        predict([model], create_image_loader("opencv"), picture, PredictOptions(), alone(StageTimer()))
    )
    best = answer.predictions[0]
    assert isinstance(best, Classification)
    assert (best.score > 0.99) is (decided_by != "model.toml")
