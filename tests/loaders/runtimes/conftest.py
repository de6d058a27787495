from pathlib import Path

import onnx
import pytest

from tests.tiny_models import add_model, colour_graph


def write(tmp_path: Path, graph: onnx.ModelProto) -> Path:
    return add_model(tmp_path, "tiny", graph) / "1" / "model.onnx"


@pytest.fixture
def graph(tmp_path: Path) -> Path:
    return write(tmp_path, colour_graph())
