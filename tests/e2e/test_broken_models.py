"""Broken models beside a good one: everything else keeps serving, and the reason of each is one sentence."""

import re
import time
from collections.abc import Iterator
from pathlib import Path

import onnx
import pytest
from onnx import helper

from tests import plain_http
from tests.e2e.test_model_check import (
    absent_operator_graph,
    future_opset_graph,
    huge_tensor_graph,
)
from tests.pictures_by_colour import colour_picture
from tests.process import Service, running_service
from tests.tiny_models import add_model, colour_graph, with_weights_beside

SETTLE_S = 120


def nan_graph() -> onnx.ModelProto:
    """Divides zero by zero for every picture."""
    graph = colour_graph()
    graph.graph.node[2].output[0] = "scaled"
    graph.graph.node.extend(
        [helper.make_node("Sub", ["scaled", "scaled"], ["zero"]), helper.make_node("Div", ["zero", "zero"], ["logits"])]
    )
    return graph


BROKEN: dict[str, tuple[onnx.ModelProto | bytes, str]] = {
    "truncated": (bytes(colour_graph().SerializeToString())[:-40], "incomplete|truncated|ends|cut"),
    "not-onnx": (b"<html>404 not found</html>", "web page"),
    "empty": (b"", "empty"),
    "future-opset": (future_opset_graph(), "opset"),
    "absent-operator": (absent_operator_graph(), "FancyMul"),
    "missing-weights": (with_weights_beside("weights.bin"), "weights.bin"),
    "not-a-number": (nan_graph(), "finite|NaN"),
    "huge-tensor": (huge_tensor_graph(gigabytes=20), "memory"),
    "labels": (colour_graph(), "labels"),
}


@pytest.fixture
def models(tmp_path: Path) -> Path:
    add_model(tmp_path / "models", "good", colour_graph())
    return tmp_path / "models"


@pytest.fixture
def service(models: Path) -> Iterator[Service]:
    environment = {
        "API_MODELS_DIR": str(models),
        "API_DEFAULT_MODEL": "good",
        "API_LOAD": "all",
    }
    with running_service(**environment) as running:
        yield running


def drop(models: Path, name: str, content: onnx.ModelProto | bytes) -> None:
    graph = content if isinstance(content, onnx.ModelProto) else colour_graph()
    folder = add_model(models, name, graph, labels=("one", "two") if name == "labels" else None)
    if isinstance(content, bytes):
        (folder / "1" / "model.onnx").write_bytes(content)


def test_broken_models_report_a_reason_and_everything_else_serves(service: Service, models: Path) -> None:
    for name, (content, _) in BROKEN.items():
        drop(models, name, content)
    picture = colour_picture("red")
    reasons: dict[str, str] = {}
    end = time.monotonic() + SETTLE_S
    with plain_http.Client(base_url=service.base_url, timeout=60) as client:
        while set(reasons) != set(BROKEN):
            assert time.monotonic() < end, set(BROKEN) - set(reasons)
            answer = client.post("/infer", content=picture)
            assert answer.json()["predictions"][0]["label"] == "red"
            assert client.get("/health/ready").status_code == 200
            for model in client.get("/models").json()["models"]:
                [version] = model["versions"]
                if version["state"] == "UNAVAILABLE" and version["since"]:
                    reasons[model["name"]] = version["reason"]
    for name, (_, expected) in BROKEN.items():
        assert re.search(expected, reasons[name]), (name, reasons[name])
        assert "\n" not in reasons[name]
        assert str(models) not in reasons[name]
