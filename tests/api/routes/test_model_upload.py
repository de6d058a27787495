"""Uploads of several files: external weights and labels."""

from pathlib import Path
from typing import Any

import httpx
import onnx
import pytest

from tests.conftest import Serve
from tests.pictures_by_colour import colour_picture
from tests.problems import assert_problem
from tests.tiny_models import add_model, colour_graph, weighted_graph

GERMAN = ("rot", "grün", "blau")


@pytest.fixture
def models(tmp_path: Path) -> Path:
    add_model(tmp_path / "models", "colour", colour_graph())
    return tmp_path / "models"


@pytest.fixture
def admin(serve: Serve, models: Path) -> httpx.Client:
    client = serve(models_dir=models, admin_keys=("boss",)).client
    client.headers["X-API-Key"] = "boss"
    return client


def answer(client: httpx.Client, model: str) -> dict[str, Any]:
    found: dict[str, Any] = client.post(f"/infer?model={model}", content=colour_picture("red")).json()
    return found


def with_weights_apart(folder: Path) -> tuple[bytes, bytes]:
    """A model as PyTorch exports it by default: colour.onnx and colour.onnx.data."""
    model = weighted_graph("MatMul")
    onnx.save(model, folder / "colour.onnx", save_as_external_data=True, location="colour.onnx.data")
    return (folder / "colour.onnx").read_bytes(), (folder / "colour.onnx.data").read_bytes()


def test_model_with_weights_in_another_file_is_uploaded(admin: httpx.Client, models: Path, tmp_path: Path) -> None:
    graph, weights = with_weights_apart(tmp_path)
    files = {"data": ("exports/colour.onnx.data", weights), "model": ("colour.onnx", graph)}
    added = admin.post("/models/apart/versions", files=files)
    assert added.status_code == 201, added.text
    assert (models / "apart" / "1" / "colour.onnx.data").read_bytes() == weights
    assert answer(admin, "apart")["model"]["version"] == 1


@pytest.mark.parametrize(
    ("data", "status", "detail"),
    [
        (
            None,
            422,
            "weights in colour.onnx.data: upload that too, as `data`, export with external_data=False, or copy",
        ),
        ("other.data", 422, "weights in colour.onnx.data: upload that too"),
        ("model.onnx", 422, "An upload has the fields"),
        ("", 422, "An upload has the fields"),
        (".hidden", 422, "An upload has the fields"),
    ],
)
def test_weights_under_another_name_are_rejected(
    admin: httpx.Client, models: Path, tmp_path: Path, data: str | None, status: int, detail: str
) -> None:
    graph, weights = with_weights_apart(tmp_path)
    parts = [("model", ("colour.onnx", graph)), *([] if data is None else [("data", (data, weights))])]
    response = admin.post("/models/apart/versions", files=parts)
    assert detail in assert_problem(response, status, "invalid_model" if "weights" in detail else "unknown_field")
    assert not list(models.glob(".upload-*"))
    assert not (models / "apart").exists()


def test_data_without_a_name_in_the_graph_are_rejected(admin: httpx.Client) -> None:
    parts = [("model", ("m.onnx", colour_graph().SerializeToString())), ("data", ("more.data", b"x"))]
    response = admin.post("/models/new/versions", files=parts)
    assert "no weights in more.data, but in: itself" in assert_problem(response, 422, "invalid_model")


def test_uploaded_labels_come_before_those_of_the_graph(admin: httpx.Client) -> None:
    model = colour_graph()
    onnx.helper.set_model_props(model, {"names": "{0: 'a', 1: 'b', 2: 'c'}", "task": "classify"})
    graph = bytes(model.SerializeToString())
    files = {"model": graph, "labels": "\n".join(GERMAN).encode()}
    assert admin.post("/models/named/versions", files=files).status_code == 201
    assert answer(admin, "named")["predictions"][0]["label"] in GERMAN
    response = admin.post("/models/named/versions", files={"model": graph, "labels": b"one\n"})
    assert "1 labels, but the graph has 3 classes" in assert_problem(response, 422, "invalid_model")
