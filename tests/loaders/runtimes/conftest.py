from pathlib import Path

import onnx
import pytest

from loaders.model_loader import create_model_loader, model_loader_names
from loaders.runtimes.base import ModelLoader
from tests.tiny_models import add_model, colour_graph


@pytest.fixture(scope="module", params=model_loader_names())
def runtime(request: pytest.FixtureRequest) -> ModelLoader:
    return create_model_loader(str(request.param))


def write(tmp_path: Path, graph: onnx.ModelProto) -> Path:
    return add_model(tmp_path, "tiny", graph) / "1" / "model.onnx"


@pytest.fixture
def graph(tmp_path: Path) -> Path:
    return write(tmp_path, colour_graph())
