"""The operator's side: what it changes, what it refuses, and that nothing half done is left behind."""

import hashlib
import os
import time
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.conftest import Serve
from tests.pictures_by_colour import colour_picture
from tests.problems import assert_problem
from tests.server import Server, until
from tests.tiny_models import SPEC, add_model, colour_graph, not_a_number_graph, with_weights_beside

KEY = {"X-API-Key": "boss"}
GERMAN = ("rot", "grün", "blau")


@pytest.fixture
def models(tmp_path: Path) -> Path:
    root = tmp_path / "models"
    add_model(root, "colour", colour_graph())
    add_model(root, "colour", colour_graph(gain=5), version=2)
    add_model(root, "other", colour_graph(), labels=GERMAN)
    return root


@pytest.fixture
def server(serve: Serve, models: Path, tmp_path: Path) -> Server:
    return serve(models_dir=models, admin_keys=("boss",), cache_dir=tmp_path / "cache")


@pytest.fixture
def boss(server: Server) -> httpx.Client:
    server.client.headers.update(KEY)
    return server.client


def graph_bytes(gain: float = 3.0) -> bytes:
    return bytes(colour_graph(gain=gain).SerializeToString())


def infer(client: httpx.Client, query: str = "") -> dict[str, Any]:
    answer = client.post(f"/infer{query}", content=colour_picture("red"))
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


CHANGES = [
    ("PUT", "/models/default", {"name": "other"}),
    ("PUT", "/models/colour/active", {"version": 1}),
    ("PUT", "/models/colour/labels/stable", {"version": 1}),
    ("DELETE", "/models/colour/labels/stable", None),
    ("POST", "/models/other/load", None),
    ("POST", "/models/other/unload", None),
    ("POST", "/models/colour/versions", None),
    ("DELETE", "/models/colour/versions/1", None),
    ("DELETE", "/models/other", None),
]


@pytest.mark.parametrize(("method", "path", "body"), CHANGES)
def test_without_admin_keys_nobody_may_change_anything_and_is_told_how(
    serve: Serve, models: Path, method: str, path: str, body: object
) -> None:
    client = serve(models_dir=models).client
    for headers in ({}, KEY):
        response = client.request(method, path, json=body, headers=headers)
        assert "API_ADMIN_KEYS" in assert_problem(response, 403, "admin_closed")


@pytest.mark.parametrize(("method", "path", "body"), CHANGES)
def test_a_stranger_may_change_nothing(server: Server, models: Path, method: str, path: str, body: object) -> None:
    before = sorted(str(file) for file in models.rglob("*"))
    assert_problem(server.client.request(method, path, json=body), 401, "no_key")
    assert_problem(server.client.request(method, path, json=body, headers={"X-API-Key": "x"}), 403, "wrong_key")
    assert sorted(str(file) for file in models.rglob("*")) == before


def test_a_user_s_key_opens_no_operator_s_door(serve: Serve, models: Path) -> None:
    client = serve(models_dir=models, keys=("user",), admin_keys=("boss",)).client
    headers = {"X-API-Key": "user"}
    assert client.get("/models", headers=headers).status_code == 200
    assert_problem(client.put("/models/default", json={"name": "other"}, headers=headers), 403, "wrong_key")
    assert client.get("/models", headers=KEY).status_code == 200
    assert_problem(client.get("/models"), 401, "no_key")


def test_another_default_model_answers_at_once(boss: httpx.Client) -> None:
    assert infer(boss)["model"]["name"] == "colour"
    report = boss.put("/models/default", json={"name": "other"}).json()
    assert (report["name"], report["default"], report["serving"]) == ("other", True, 1)
    assert infer(boss)["predictions"][0]["label"] == "rot"
    assert boss.get("/models").json()["default"] == "other"


def test_another_active_version_answers_at_once_and_back(boss: httpx.Client) -> None:
    assert infer(boss)["model"]["version"] == 2
    for version in (1, 2, 1):
        report = boss.put("/models/colour/active", json={"version": version}).json()
        assert (report["active"], report["serving"]) == (version, version)
        assert infer(boss)["model"]["version"] == version


def test_a_label_may_be_used_wherever_a_number_may(boss: httpx.Client) -> None:
    assert boss.put("/models/colour/labels/stable", json={"version": 1}).status_code == 200
    assert infer(boss, "?version=stable")["model"]["version"] == 1
    assert boss.put("/models/colour/labels/candidate", json={"version": "stable"}).status_code == 200
    assert boss.put("/models/colour/active", json={"version": "stable"}).json()["active"] == 1
    labels = {v["version"]: v["labels"] for v in boss.get("/models/colour").json()["versions"]}
    assert labels == {1: ["candidate", "stable"], 2: []}
    assert boss.delete("/models/colour/labels/stable").status_code == 200
    assert_problem(boss.post("/infer?version=stable", content=b"x"), 404, "unknown_model")
    assert_problem(boss.delete("/models/colour/labels/stable"), 404, "unknown_model")


def test_a_label_cannot_point_at_a_version_that_does_not_load(boss: httpx.Client, models: Path) -> None:
    add_model(models, "nan", not_a_number_graph(), version=2)
    (add_model(models, "nan", colour_graph()) / "1" / "model.onnx").write_bytes(b"broken")
    until(lambda: boss.get("/models/nan").status_code == 200)
    assert_problem(boss.put("/models/nan/labels/stable", json={"version": 1}), 503, "model_unavailable")
    assert_problem(boss.put("/models/nan/active", json={"version": 1}), 503, "model_unavailable")
    report = boss.get("/models/nan").json()
    assert (report["active"], [v["labels"] for v in report["versions"]]) == (2, [[], []])


@pytest.mark.parametrize("label", ["1", "a b", "a" * 65, ".x", "-1x "])
def test_a_label_is_a_name_and_no_number(boss: httpx.Client, label: str) -> None:
    assert_problem(boss.put(f"/models/colour/labels/{label}", json={"version": 1}), 422, "invalid_parameter")


def test_loading_and_unloading(boss: httpx.Client) -> None:
    def state() -> str:
        return str(boss.get("/models/other").json()["versions"][0]["state"])

    assert state() == "UNAVAILABLE"
    assert boss.post("/models/other/load").json()["serving"] == 1
    assert state() == "READY"
    assert boss.post("/models/other/versions/1/unload").json()["serving"] is None
    until(lambda: state() == "UNAVAILABLE")
    assert infer(boss, "?model=other")["predictions"][0]["label"] == "rot"


def test_the_default_model_is_not_unloaded_or_deleted(boss: httpx.Client) -> None:
    assert_problem(boss.post("/models/colour/unload"), 409, "conflict")
    assert_problem(boss.delete("/models/colour"), 409, "conflict")
    assert infer(boss)["model"]["name"] == "colour"


def test_a_version_that_serves_is_not_deleted_another_is(boss: httpx.Client, models: Path) -> None:
    assert_problem(boss.delete("/models/colour/versions/2"), 409, "conflict")
    assert boss.delete("/models/colour/versions/1").status_code == 204
    assert not (models / "colour" / "1").exists()
    assert_problem(boss.post("/infer?version=1", content=b"x"), 404, "unknown_model")
    assert boss.delete("/models/other").status_code == 204
    assert_problem(boss.get("/models/other"), 404, "unknown_model")
    assert not [f.name for f in models.iterdir() if f.name.startswith(".deleted")]


def test_an_uploaded_version_is_served(boss: httpx.Client, models: Path) -> None:
    data = graph_bytes()
    digest = hashlib.sha256(data).hexdigest()
    added = boss.post(f"/models/colour/versions?sha256={digest}", content=data)
    assert added.status_code == 201, added.text
    assert added.json() == {"name": "colour", "version": 3, "sha256": digest}
    assert (models / "colour" / "3" / "model.onnx").read_bytes() == data
    until(lambda: infer(boss)["model"]["version"] == 3)


def test_a_new_model_is_uploaded_with_its_spec_and_labels(boss: httpx.Client) -> None:
    files = {"model": graph_bytes(), "spec": SPEC.encode(), "labels": "\n".join(GERMAN).encode()}
    added = boss.post("/models/neu/versions?version=7", files=files)
    assert added.json()["version"] == 7, added.text
    assert infer(boss, "?model=neu")["predictions"][0]["label"] == "rot"
    assert boss.get("/models/neu").json()["spec"]["preprocess.resize"] == {
        "value": "stretch",
        "decided_by": "model.toml",
    }


@pytest.mark.parametrize(
    ("query", "content", "status", "code"),
    [
        ("", b"", 422, "invalid_model"),
        ("", b"not a graph", 422, "invalid_model"),
        ("", graph_bytes()[:200], 422, "invalid_model"),
        ("?version=2", graph_bytes(), 409, "conflict"),
        (f"?sha256={'0' * 64}", graph_bytes(), 422, "wrong_digest"),
        ("?sha256=abc", graph_bytes(), 422, "invalid_parameter"),
        ("?version=-1", graph_bytes(), 422, "invalid_parameter"),
    ],
)
def test_a_bad_upload_is_told_and_leaves_nothing(
    boss: httpx.Client, models: Path, query: str, content: bytes, status: int, code: str
) -> None:
    before = sorted(str(file) for file in models.rglob("*"))
    assert_problem(boss.post(f"/models/colour/versions{query}", content=content), status, code)
    assert sorted(str(file) for file in models.rglob("*")) == before


@pytest.mark.parametrize("name", ["..", "%2e%2e", "..%2fx", ".hidden", "a%00b", "a b", "x" * 129])
def test_a_name_leads_nowhere_else(boss: httpx.Client, tmp_path: Path, name: str) -> None:
    before = sorted(str(file) for file in tmp_path.rglob("*") if "cache" not in str(file))
    response = boss.post(f"/models/{name}/versions", content=graph_bytes())
    assert response.status_code in (404, 405, 422)
    assert sorted(str(file) for file in tmp_path.rglob("*") if "cache" not in str(file)) == before


def test_an_upload_above_the_limit_is_413_and_leaves_nothing(
    serve: Serve, models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("api.routes.model_upload.MAX_MODEL_BYTES", 1000)
    client = serve(models_dir=models, admin_keys=("boss",), cache_dir=tmp_path / "cache").client
    before = sorted(str(file) for file in models.rglob("*"))
    for body in ({"content": bytes(1001)}, {"content": iter([bytes(600)] * 3)}, {"files": {"model": bytes(1001)}}):
        response = client.post("/models/new/versions", headers=KEY, **body)
        assert_problem(response, 413, "too_many_bytes")
    assert sorted(str(file) for file in models.rglob("*")) == before


def test_an_export_without_version_folders_takes_no_second_version(boss: httpx.Client, models: Path) -> None:
    """Its own version would vanish behind the new folder."""
    (models / "export" / "onnx").mkdir(parents=True)
    (models / "export" / "onnx" / "model.onnx").write_bytes(graph_bytes())
    (models / "bare.onnx").write_bytes(graph_bytes())
    until(lambda: {"export", "bare"} <= {model["name"] for model in boss.get("/models").json()["models"]})
    for name in ("export", "bare"):
        assert_problem(boss.post(f"/models/{name}/versions", content=graph_bytes()), 409, "conflict")
        assert_problem(boss.delete(f"/models/{name}/versions/1"), 409, "conflict")
        assert infer(boss, f"?model={name}")["model"]["version"] == 1


def test_a_deleted_model_leaves_nothing_to_the_next_of_its_name(boss: httpx.Client) -> None:
    assert boss.put("/models/other/labels/stable", json={"version": 1}).status_code == 200
    assert boss.delete("/models/other").status_code == 204
    assert boss.post("/models/other/versions", content=graph_bytes()).status_code == 201
    assert boss.get("/models/other").json()["versions"][0]["labels"] == []


def test_what_a_killed_process_left_is_removed_when_it_is_old(models: Path, serve: Serve) -> None:
    for name, age_s in ((".upload-old", 2 * 24 * 3600), (".upload-new", 60), (".deleted-old", 2 * 24 * 3600)):
        (models / name).mkdir()
        (models / name / "model.onnx").write_bytes(b"x")
        os.utime(models / name, (time.time() - age_s,) * 2)
    serve(models_dir=models)
    assert [f.name for f in models.iterdir() if f.name.startswith((".upload", ".deleted"))] == [".upload-new"]


def test_external_data_is_refused(boss: httpx.Client) -> None:
    graph = with_weights_beside("/etc/passwd")
    response = boss.post("/models/new/versions", content=graph.SerializeToString())
    assert "passwd" not in assert_problem(response, 422, "invalid_model")


def test_a_folder_that_cannot_be_written_is_409(boss: httpx.Client, models: Path) -> None:
    """As root every folder can be written, so the folder goes away instead."""
    models.rename(models.with_name("away"))
    assert_problem(boss.put("/models/default", json={"name": "colour"}), 409, "models_not_writable")
    assert_problem(boss.post("/models/new/versions", content=graph_bytes()), 409, "models_not_writable")
    assert infer(boss)["model"]["name"] == "colour", "what is loaded goes on serving"


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'{"name": 1}', b'{"name": "other", "x": 1}', b"null"])
def test_a_bad_body_is_422(boss: httpx.Client, body: bytes) -> None:
    response = boss.put("/models/default", content=body, headers={"Content-Type": "application/json"})
    assert_problem(response, 422, "invalid_parameter")
