"""Samples over HTTP: /models reports them, and a version that disagrees is not activated at start, swap or upload."""

from pathlib import Path

import httpx
import pytest

from tests.conftest import Serve
from tests.pictures_by_colour import colour_picture
from tests.samples import add_samples, colour_sample
from tests.server import until
from tests.tiny_models import SPEC, add_model, colour_graph

KEY = {"X-API-Key": "boss"}
BGR = SPEC.replace("[preprocess]", '[preprocess]\ncolor = "BGR"')


@pytest.fixture
def models(tmp_path: Path) -> Path:
    """`colour` with samples that its version 1 agrees with."""
    folder = add_model(tmp_path / "models", "colour", colour_graph())
    add_samples(folder, colour_sample("red"), colour_sample("green"), colour_sample("blue"))
    return tmp_path / "models"


def add_wrong_version(models: Path, number: int) -> None:
    """The right graph with a recipe that swaps red and blue."""
    add_model(models, "colour", colour_graph(), version=number)
    (models / "colour" / "model.toml").write_text(SPEC)
    (models / "colour" / str(number) / "model.toml").write_text(BGR)


def details(client: httpx.Client) -> dict[str, object]:
    found: dict[str, object] = client.get("/models/colour").json()
    return found


def reason(client: httpx.Client, number: int) -> str:
    versions = client.get("/models/colour").json()["versions"]
    return next((str(v["reason"] or "") for v in versions if v["version"] == number), "")


def assert_serves(client: httpx.Client, number: int) -> None:
    answer = client.post("/infer", content=colour_picture("red")).json()
    assert answer["model"]["version"] == number
    assert answer["predictions"][0]["label"] == "red"


def test_a_model_shows_how_its_answers_compare(serve: Serve, models: Path) -> None:
    client = serve(models_dir=models).client
    assert details(client)["samples"] == {
        "summary": "agrees with its framework: 3 of 3, largest difference 0.0000",
        "count": 3,
        "agreeing": 3,
        "largest_difference": pytest.approx(0, abs=1e-4),
        "tolerance": 0.02,
        "framework": "NumPy",
        "date": "2026-11-28",
        "how": "a mean of each channel",
        "versions": {"numpy": "2"},
    }


def test_a_model_without_samples_shows_none(serve: Serve, tiny_models: Path) -> None:
    assert details(serve(models_dir=tiny_models).client)["samples"] is None


def test_at_the_start_the_next_lower_version_that_agrees_serves(serve: Serve, models: Path) -> None:
    add_wrong_version(models, 2)
    add_wrong_version(models, 3)
    client = serve(models_dir=models).client
    until(lambda: details(client)["serving"] == 1)
    assert_serves(client, 1)
    assert client.get("/health/ready").status_code == 200
    assert "2 of 3 samples disagree with NumPy: colour/samples/" in reason(client, 3)
    assert "part at preprocessing" in reason(client, 3)


def test_a_new_version_that_disagrees_is_not_swapped_in(serve: Serve, models: Path) -> None:
    client = serve(models_dir=models).client
    add_wrong_version(models, 2)
    until(lambda: "disagree" in reason(client, 2))
    assert "version 1 keeps serving" in reason(client, 2)
    assert_serves(client, 1)


def test_samples_that_change_are_answered_again(serve: Serve, models: Path) -> None:
    client = serve(models_dir=models).client
    add_samples(models / "colour", colour_sample("red", gain=1))
    until(lambda: "disagree" in reason(client, 1))
    assert "its previous files keep serving" in reason(client, 1)
    assert_serves(client, 1)
    add_samples(models / "colour", colour_sample("red"))
    until(lambda: details(client)["samples"] and not reason(client, 1))
    assert_serves(client, 1)


def test_an_upload_that_disagrees_is_not_added(serve: Serve, models: Path) -> None:
    client = serve(models_dir=models, admin_keys=("boss",)).client
    graph = colour_graph().SerializeToString()
    uploaded = client.post(
        "/models/colour/versions", headers=KEY, files={"model": ("m.onnx", graph), "spec": ("model.toml", BGR)}
    )
    assert uploaded.status_code == 422, uploaded.text
    assert "samples disagree with NumPy" in uploaded.json()["detail"]
    assert not (models / "colour" / "2").exists()
    assert_serves(client, 1)
    accepted = client.post("/models/colour/versions", headers=KEY, files={"model": ("m.onnx", graph)})
    assert accepted.status_code == 201, accepted.text
    until(lambda: details(client)["serving"] == 2)
    assert_serves(client, 2)


def test_a_version_that_disagrees_cannot_be_activated(serve: Serve, models: Path) -> None:
    add_wrong_version(models, 2)
    client = serve(models_dir=models, admin_keys=("boss",)).client
    answer = client.put("/models/colour/active", headers=KEY, json={"version": 2})
    assert answer.status_code == 503
    assert "samples disagree" in answer.json()["detail"]
    assert_serves(client, 1)


def test_a_broken_expected_json_leaves_the_version_before_serving(serve: Serve, models: Path) -> None:
    client = serve(models_dir=models).client
    (models / "colour" / "samples" / "expected.json").write_text("{")
    until(lambda: "expected.json" in reason(client, 1))
    assert_serves(client, 1)


def test_a_deleted_bare_model_takes_its_samples_with_it(serve: Serve, models: Path) -> None:
    (models / "bare.onnx").write_bytes(colour_graph().SerializeToString())
    (models / "bare.toml").write_text(SPEC)
    add_samples(models, colour_sample("red", predictions=None)).rename(models / "bare.samples")
    client = serve(models_dir=models, admin_keys=("boss",)).client
    assert client.post("/models/bare/load", headers=KEY).status_code == 200
    assert client.delete("/models/bare", headers=KEY).status_code in (200, 204)
    assert not list(models.glob("bare*"))
