"""Attacks that succeeded against earlier versions."""

import json
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from api.telemetry.logs import flush_logs
from tests import plain_http
from tests.conftest import Serve
from tests.e2e.services import WAIT_S
from tests.pictures_by_colour import colour_picture
from tests.problems import assert_problem
from tests.process import running_service
from tests.server import Server, service_settings, serving, until
from tests.tiny_models import add_model, colour_graph

KEY = {"X-API-Key": "boss"}


def add_models(models: Path) -> Path:
    add_model(models, "colour", colour_graph())
    add_model(models, "other", colour_graph())
    return models


@pytest.fixture
def models(tmp_path: Path) -> Path:
    return add_models(tmp_path / "models")


@pytest.fixture
def server(serve: Serve, models: Path) -> Server:
    return serve(models_dir=models, admin_keys=("boss",))


@pytest.fixture(scope="module")
def rejecting(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One server for requests that it rejects."""
    models = add_models(tmp_path_factory.mktemp("models"))
    with serving(service_settings(models_dir=models, default_model="colour", admin_keys=("boss",))) as running:
        yield running


def wait_for_next_scan(server: Server, models: Path) -> None:
    """Waits until the models folder was read: then a new model is served."""
    name = f"new-{len(list(models.iterdir()))}"
    add_model(models, name, colour_graph())
    until(lambda: server.client.post(f"/infer?model={name}", content=colour_picture("red")).status_code == 200)


def test_pipelined_requests_before_a_disconnect_leak_no_key_and_no_traceback(models: Path, red_png: bytes) -> None:
    """Later responses cannot be sent; their exception was logged with all variables."""
    head = f"POST /infer HTTP/1.1\r\nHost: x\r\nX-API-Key: s3cr3t\r\nContent-Length: {len(red_png)}\r\n\r\n".encode()
    with running_service(API_MODELS_DIR=str(models), API_DEFAULT_MODEL="colour") as service:
        port = httpx.URL(service.base_url).port
        assert port
        for _ in range(5):
            with socket.create_connection(("127.0.0.1", port)) as connection:
                connection.sendall((head + red_png) * 6)
                connection.shutdown(socket.SHUT_WR)
        assert plain_http.get(f"{service.base_url}/health/live", timeout=WAIT_S).status_code == 200
        until(lambda: sum("path=/infer" in line for line in service.log) >= 5)
    written = "".join(service.log)
    assert "s3cr3t" not in written
    assert "Traceback" not in written


@pytest.mark.parametrize("log_format", ["text", "json"])
def test_unexpected_exception_is_logged_without_variables(
    tiny_models: Path,
    red_png: bytes,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    log_format: str,
) -> None:
    def bug(*_: object) -> None:
        raise KeyError

    monkeypatch.setattr("engine.inference_engine.predict", bug)
    with serving(service_settings(models_dir=tiny_models, default_model="colour", log_format=log_format)) as server:
        assert server.client.post("/infer", content=red_png, headers={"X-API-Key": "s3cr3t"}).status_code == 500
    flush_logs()
    written = capfd.readouterr().err
    assert "KeyError" in written
    assert "s3cr3t" not in written


@pytest.mark.parametrize("path", ["/models/default", "/models/colour/active", "/models/colour/labels/l"])
def test_json_body_is_read_after_the_key_check_and_up_to_its_limit(rejecting: Server, path: str) -> None:
    sent = 0

    def endless() -> Iterator[bytes]:
        nonlocal sent
        while sent < 500 * 2**20:
            sent += 2**20
            yield b" " * 2**20

    for headers, status, code in (({}, 401, "no_key"), (KEY, 413, "too_many_bytes")):
        sent = 0
        try:
            response = rejecting.client.put(path, content=endless(), headers=headers)
        except httpx.HTTPError:
            pass  # the connection was closed during the upload
        else:
            assert_problem(response, status, code)
        assert sent < 400 * 2**20


def test_upload_does_not_replace_a_file(server: Server, models: Path) -> None:
    (models / "README.md").write_text("text")
    data = bytes(colour_graph().SerializeToString())
    for name in ("fovea-state.json", "README.md"):
        assert_problem(server.client.post(f"/models/{name}/versions", content=data, headers=KEY), 409, "conflict")
    assert (models / "README.md").read_text() == "text"
    changed = server.client.put("/models/default", content=b'{"name": "other"}', headers=KEY)
    assert changed.status_code == 200


def test_state_path_that_is_a_pipe_device_or_folder_blocks_no_request(
    server: Server, models: Path, red_png: bytes
) -> None:
    state = models / "fovea-state.json"
    for kind in ("pipe", "endless", "folder"):
        match kind:
            case "pipe":
                os.mkfifo(state)
            case "endless":
                state.symlink_to("/dev/zero")
            case _:
                state.mkdir()
        wait_for_next_scan(server, models)
        assert server.client.get("/health/live").status_code == 200
        assert server.client.post("/infer?model=other", content=red_png).status_code == 200
        state.rmdir() if state.is_dir() else state.unlink()


@pytest.mark.parametrize("version", ["9" * 5000, "٣", "a/b", "", -1, 10**9, True, 1.5, None])
def test_invalid_version_is_422(rejecting: Server, version: object) -> None:
    response = rejecting.client.put("/models/colour/active", content=json.dumps({"version": version}), headers=KEY)
    assert_problem(response, 422, "invalid_parameter")
    assert_problem(rejecting.client.post(f"/infer?version={'9' * 20}", content=b"x"), 404, "unknown_model")


def test_state_file_with_a_lone_surrogate_is_replaced_by_a_change(server: Server, models: Path) -> None:
    (models / "fovea-state.json").write_text('{"default": "\\ud800"}')
    wait_for_next_scan(server, models)
    changed = server.client.put("/models/default", content=b'{"name": "other"}', headers=KEY)
    assert changed.status_code == 200


def test_folder_that_becomes_ambiguous_is_reported_and_keeps_serving(server: Server, models: Path) -> None:
    red = colour_picture("red")
    graph = bytes(colour_graph().SerializeToString())
    (models / "pair").mkdir()
    (models / "pair" / "cats.onnx").write_bytes(graph)
    until(lambda: server.client.post("/infer?model=pair", content=red).status_code == 200)
    (models / "pair" / "dogs.onnx").write_bytes(graph)
    (models / "two words").mkdir()
    (models / "two words" / "model.onnx").write_bytes(graph)

    def not_served() -> dict[str, str]:
        return {entry["name"]: entry["reason"] for entry in server.client.get("/models").json()["not_served"]}

    until(lambda: set(not_served()) == {"pair", "two words"})
    assert "cats.onnx and dogs.onnx" in not_served()["pair"]
    assert "rename" in not_served()["two words"]
    wait_for_next_scan(server, models)
    assert server.client.post("/infer?model=pair", content=red).status_code == 200
    detail = assert_problem(server.client.post("/infer?model=two words", content=red), 503, "model_unavailable")
    assert "rename" in detail


def test_concurrent_uploads_get_distinct_versions(server: Server) -> None:
    from concurrent.futures import ThreadPoolExecutor

    data = bytes(colour_graph().SerializeToString())

    def upload(_: int) -> httpx.Response:
        return plain_http.post(
            f"{server.client.base_url}/models/colour/versions", content=data, headers=KEY, timeout=WAIT_S
        )

    with ThreadPoolExecutor(4) as clients:
        answers = list(clients.map(upload, range(4)))
    assert sorted(answer.json()["version"] for answer in answers) == [2, 3, 4, 5]


def test_pinned_version_can_be_unpinned(server: Server, models: Path) -> None:
    add_model(models, "colour", colour_graph(gain=3), version=2)
    until(lambda: server.client.get("/models/colour").json()["serving"] == 2)
    pinned = server.client.put("/models/colour/active", content=b'{"version": 1}', headers=KEY).json()
    assert (pinned["active"], pinned["pinned"]) == (1, True)
    free = server.client.delete("/models/colour/active", headers=KEY).json()
    assert (free["active"], free["pinned"]) == (2, False)
    until(lambda: server.client.get("/models/colour").json()["serving"] == 2)
