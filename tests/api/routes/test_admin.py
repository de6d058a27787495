"""Admin routes: their changes, their rejections, and that a rejected change leaves no files."""

import hashlib
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from api.settings import ApiSettings
from tests.conftest import Serve
from tests.pictures_by_colour import colour_picture
from tests.problems import assert_problem
from tests.server import Server, service_settings, serving, until
from tests.tiny_models import SPEC, add_model, colour_graph, not_a_number_graph, with_weights_beside

KEY = {"X-API-Key": "boss"}
GERMAN = ("rot", "grün", "blau")


def add_models(root: Path) -> Path:
    add_model(root, "colour", colour_graph())
    add_model(root, "colour", colour_graph(gain=5), version=2)
    add_model(root, "other", colour_graph(), labels=GERMAN)
    return root


@pytest.fixture
def models(tmp_path: Path) -> Path:
    return add_models(tmp_path / "models")


@pytest.fixture
def admin(serve: Serve, models: Path) -> httpx.Client:
    """A client with an admin key, of a server of this test."""
    client = serve(models_dir=models, admin_keys=("boss",)).client
    client.headers.update(KEY)
    return client


@pytest.fixture(scope="module")
def unchanged(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder around the models of `rejecting` and `without_admin`."""
    root = tmp_path_factory.mktemp("unchanged")
    add_models(root / "models")
    return root


@pytest.fixture(scope="module")
def rejecting(unchanged: Path) -> Iterator[Server]:
    """One server with an admin key, for all requests that it rejects."""
    with serving(settings_of(unchanged, admin_keys=("boss",))) as running:
        yield running


@pytest.fixture(scope="module")
def without_admin(unchanged: Path) -> Iterator[httpx.Client]:
    """A client of a server without admin keys."""
    with serving(settings_of(unchanged)) as running:
        yield running.client


def settings_of(root: Path, **chosen: object) -> ApiSettings:
    return service_settings(models_dir=root / "models", default_model="colour", **chosen)


def files_of(root: Path) -> list[str]:
    return sorted(str(file) for file in root.rglob("*"))


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
def test_admin_actions_without_admin_keys_are_403_and_name_the_setting(
    without_admin: httpx.Client, method: str, path: str, body: object
) -> None:
    for headers in ({}, KEY):
        response = without_admin.request(method, path, json=body, headers=headers)
        assert "API_ADMIN_KEYS" in assert_problem(response, 403, "admin_closed")


@pytest.mark.parametrize(("method", "path", "body"), CHANGES)
def test_admin_actions_with_missing_or_wrong_key_change_nothing(
    rejecting: Server, unchanged: Path, method: str, path: str, body: object
) -> None:
    client, before = rejecting.client, files_of(unchanged)
    assert_problem(client.request(method, path, json=body), 401, "no_key")
    assert_problem(client.request(method, path, json=body, headers={"X-API-Key": "x"}), 403, "wrong_key")
    assert files_of(unchanged) == before


def test_user_key_is_rejected_for_admin_actions(serve: Serve, models: Path) -> None:
    client = serve(models_dir=models, keys=("user",), admin_keys=("boss",)).client
    headers = {"X-API-Key": "user"}
    assert client.get("/models", headers=headers).status_code == 200
    assert_problem(client.put("/models/default", json={"name": "other"}, headers=headers), 403, "wrong_key")
    assert client.get("/models", headers=KEY).status_code == 200
    assert_problem(client.get("/models"), 401, "no_key")


def test_changed_default_model_serves_the_next_request(admin: httpx.Client) -> None:
    assert infer(admin)["model"]["name"] == "colour"
    report = admin.put("/models/default", json={"name": "other"}).json()
    assert (report["name"], report["default"], report["serving"]) == ("other", True, 1)
    assert infer(admin)["predictions"][0]["label"] == "rot"
    assert admin.get("/models").json()["default"] == "other"


def test_changed_active_version_serves_the_next_request(admin: httpx.Client) -> None:
    assert infer(admin)["model"]["version"] == 2
    for version in (1, 2, 1):
        report = admin.put("/models/colour/active", json={"version": version}).json()
        assert (report["active"], report["serving"]) == (version, version)
        assert infer(admin)["model"]["version"] == version


def test_label_is_accepted_in_place_of_a_version(admin: httpx.Client) -> None:
    assert admin.put("/models/colour/labels/stable", json={"version": 1}).status_code == 200
    assert infer(admin, "?version=stable")["model"]["version"] == 1
    assert admin.put("/models/colour/labels/candidate", json={"version": "stable"}).status_code == 200
    assert admin.put("/models/colour/active", json={"version": "stable"}).json()["active"] == 1
    labels = {v["version"]: v["labels"] for v in admin.get("/models/colour").json()["versions"]}
    assert labels == {1: ["candidate", "stable"], 2: []}
    assert admin.delete("/models/colour/labels/stable").status_code == 200
    assert_problem(admin.post("/infer?version=stable", content=b"x"), 404, "unknown_model")
    assert_problem(admin.delete("/models/colour/labels/stable"), 404, "unknown_model")


def test_label_for_a_version_that_fails_to_load_is_503(admin: httpx.Client, models: Path) -> None:
    add_model(models, "nan", not_a_number_graph(), version=2)
    (add_model(models, "nan", colour_graph()) / "1" / "model.onnx").write_bytes(b"broken")
    until(lambda: admin.get("/models/nan").status_code == 200)
    assert_problem(admin.put("/models/nan/labels/stable", json={"version": 1}), 503, "model_unavailable")
    assert_problem(admin.put("/models/nan/active", json={"version": 1}), 503, "model_unavailable")
    report = admin.get("/models/nan").json()
    assert (report["active"], [v["labels"] for v in report["versions"]]) == (2, [[], []])


@pytest.mark.parametrize("label", ["1", "a b", "a" * 65, ".x", "-1x "])
def test_invalid_label_is_422(rejecting: Server, label: str) -> None:
    response = rejecting.client.put(f"/models/colour/labels/{label}", json={"version": 1}, headers=KEY)
    assert_problem(response, 422, "invalid_parameter")


def test_load_and_unload_change_the_state(admin: httpx.Client) -> None:
    def state() -> str:
        return str(admin.get("/models/other").json()["versions"][0]["state"])

    assert state() == "UNAVAILABLE"
    assert admin.post("/models/other/load").json()["serving"] == 1
    assert state() == "READY"
    assert admin.post("/models/other/versions/1/unload").json()["serving"] is None
    until(lambda: state() == "UNAVAILABLE")
    assert infer(admin, "?model=other")["predictions"][0]["label"] == "rot"


def test_unload_or_delete_of_the_default_model_is_409(admin: httpx.Client) -> None:
    assert_problem(admin.post("/models/colour/unload"), 409, "conflict")
    assert_problem(admin.delete("/models/colour"), 409, "conflict")
    assert infer(admin)["model"]["name"] == "colour"


def test_delete_of_the_serving_version_is_409_and_of_another_204(admin: httpx.Client, models: Path) -> None:
    assert_problem(admin.delete("/models/colour/versions/2"), 409, "conflict")
    assert admin.delete("/models/colour/versions/1").status_code == 204
    assert not (models / "colour" / "1").exists()
    assert_problem(admin.post("/infer?version=1", content=b"x"), 404, "unknown_model")
    assert admin.delete("/models/other").status_code == 204
    assert_problem(admin.get("/models/other"), 404, "unknown_model")
    assert not [f.name for f in models.iterdir() if f.name.startswith(".deleted")]


def test_uploaded_version_is_served(admin: httpx.Client, models: Path) -> None:
    data = graph_bytes()
    digest = hashlib.sha256(data).hexdigest()
    added = admin.post(f"/models/colour/versions?sha256={digest}", content=data)
    assert added.status_code == 201, added.text
    assert added.json() == {"name": "colour", "version": 3, "sha256": digest}
    assert (models / "colour" / "3" / "model.onnx").read_bytes() == data
    until(lambda: infer(admin)["model"]["version"] == 3)


def test_new_model_is_uploaded_with_its_spec_and_labels(admin: httpx.Client) -> None:
    files = {"model": graph_bytes(), "spec": SPEC.encode(), "labels": "\n".join(GERMAN).encode()}
    added = admin.post("/models/neu/versions?version=7", files=files)
    assert added.json()["version"] == 7, added.text
    assert infer(admin, "?model=neu")["predictions"][0]["label"] == "rot"
    assert admin.get("/models/neu").json()["spec"]["preprocess.resize"] == {
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
def test_invalid_upload_is_rejected_and_leaves_no_files(
    rejecting: Server, unchanged: Path, query: str, content: bytes, status: int, code: str
) -> None:
    before = files_of(unchanged)
    response = rejecting.client.post(f"/models/colour/versions{query}", content=content, headers=KEY)
    assert_problem(response, status, code)
    assert files_of(unchanged) == before


@pytest.mark.parametrize("name", ["..", "%2e%2e", "..%2fx", ".hidden", "a%00b", "a b", "x" * 129])
def test_invalid_model_name_creates_no_files(rejecting: Server, unchanged: Path, name: str) -> None:
    before = files_of(unchanged)
    response = rejecting.client.post(f"/models/{name}/versions", content=graph_bytes(), headers=KEY)
    assert response.status_code in (404, 405, 422)
    assert files_of(unchanged) == before


def test_upload_above_the_limit_is_413_and_leaves_no_files(
    serve: Serve, models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("api.routes.model_upload.MAX_MODEL_BYTES", 1000)
    client = serve(models_dir=models, admin_keys=("boss",)).client
    before = files_of(models)
    for body in ({"content": bytes(1001)}, {"content": iter([bytes(600)] * 3)}, {"files": {"model": bytes(1001)}}):
        response = client.post("/models/new/versions", headers=KEY, **body)
        assert_problem(response, 413, "too_many_bytes")
    assert files_of(models) == before


def test_upload_to_a_model_without_version_folders_is_409(admin: httpx.Client, models: Path) -> None:
    """A version folder would hide the version that such a model has."""
    (models / "export" / "onnx").mkdir(parents=True)
    (models / "export" / "onnx" / "model.onnx").write_bytes(graph_bytes())
    (models / "bare.onnx").write_bytes(graph_bytes())
    until(lambda: {"export", "bare"} <= {model["name"] for model in admin.get("/models").json()["models"]})
    for name in ("export", "bare"):
        assert_problem(admin.post(f"/models/{name}/versions", content=graph_bytes()), 409, "conflict")
        assert_problem(admin.delete(f"/models/{name}/versions/1"), 409, "conflict")
        assert infer(admin, f"?model={name}")["model"]["version"] == 1


def test_new_model_does_not_inherit_labels_of_a_deleted_one(admin: httpx.Client) -> None:
    assert admin.put("/models/other/labels/stable", json={"version": 1}).status_code == 200
    assert admin.delete("/models/other").status_code == 204
    assert admin.post("/models/other/versions", content=graph_bytes()).status_code == 201
    assert admin.get("/models/other").json()["versions"][0]["labels"] == []


def test_old_temporary_folders_are_removed_at_start(models: Path, serve: Serve) -> None:
    for name, age_s in ((".upload-old", 2 * 24 * 3600), (".upload-new", 60), (".deleted-old", 2 * 24 * 3600)):
        (models / name).mkdir()
        (models / name / "model.onnx").write_bytes(b"x")
        os.utime(models / name, (time.time() - age_s,) * 2)
    serve(models_dir=models)
    assert [f.name for f in models.iterdir() if f.name.startswith((".upload", ".deleted"))] == [".upload-new"]


def test_upload_with_external_data_is_422(admin: httpx.Client) -> None:
    graph = with_weights_beside("/etc/passwd")
    response = admin.post("/models/new/versions", content=graph.SerializeToString())
    assert "passwd" not in assert_problem(response, 422, "invalid_model")


def test_change_to_an_unwritable_models_folder_is_409(admin: httpx.Client, models: Path) -> None:
    """As root every folder can be written, so the folder goes away instead."""
    models.rename(models.with_name("away"))
    assert_problem(admin.put("/models/default", json={"name": "colour"}), 409, "models_not_writable")
    assert_problem(admin.post("/models/new/versions", content=graph_bytes()), 409, "models_not_writable")
    assert infer(admin)["model"]["name"] == "colour"


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'{"name": 1}', b'{"name": "other", "x": 1}', b"null"])
def test_invalid_json_body_is_422(rejecting: Server, body: bytes) -> None:
    headers = {**KEY, "Content-Type": "application/json"}
    response = rejecting.client.put("/models/default", content=body, headers=headers)
    assert_problem(response, 422, "invalid_parameter")
