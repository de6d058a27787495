"""Attacks that once succeeded, each as a test."""

import contextlib
import json
import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.conftest import Serve
from tests.pictures_by_colour import colour_picture
from tests.problems import assert_problem
from tests.process import running_service
from tests.server import Server, until
from tests.tiny_models import add_model, colour_graph

KEY = {"X-API-Key": "boss"}


@pytest.fixture
def models(tmp_path: Path) -> Path:
    root = tmp_path / "models"
    add_model(root, "colour", colour_graph())
    add_model(root, "other", colour_graph())
    return root


@pytest.fixture
def server(serve: Serve, models: Path, tmp_path: Path) -> Server:
    return serve(models_dir=models, admin_keys=("boss",), cache_dir=tmp_path / "cache")


def test_pipelined_requests_of_a_client_that_leaves_are_no_crash_and_leak_no_key(models: Path, red_png: bytes) -> None:
    """The second answer meets a closed connection: it was taken for a bug of ours, and logged with all variables."""
    head = f"POST /infer HTTP/1.1\r\nHost: x\r\nX-API-Key: s3cr3t\r\nContent-Length: {len(red_png)}\r\n\r\n".encode()
    with running_service(API_MODELS_DIR=str(models), API_DEFAULT_MODEL="colour") as service:
        port = httpx.URL(service.base_url).port
        assert port
        for _ in range(5):
            with socket.create_connection(("127.0.0.1", port)) as connection:
                connection.sendall((head + red_png) * 6)
                connection.shutdown(socket.SHUT_WR)
        started = time.monotonic()
        assert httpx.get(f"{service.base_url}/health/live").status_code == 200
        assert time.monotonic() - started < 1
        until(lambda: sum("path=/infer" in line for line in service.log) >= 5)
    written = "".join(service.log)
    assert "s3cr3t" not in written
    assert "Traceback" not in written


@pytest.mark.parametrize("log_format", ["text", "json"])
def test_a_bug_of_ours_is_logged_without_the_values_it_met(
    serve: Serve, red_png: bytes, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], log_format: str
) -> None:
    def bug(*_: object) -> None:
        raise KeyError

    monkeypatch.setattr("engine.inference_engine.predict", bug)
    client = serve(log_format=log_format).client
    assert client.post("/infer", content=red_png, headers={"X-API-Key": "s3cr3t"}).status_code == 500
    written = ""

    def bug_is_logged() -> bool:
        nonlocal written
        written += capfd.readouterr().err
        return "KeyError" in written

    until(bug_is_logged)
    assert "s3cr3t" not in written


@pytest.mark.parametrize("path", ["/models/default", "/models/colour/active", "/models/colour/labels/l"])
def test_a_json_body_is_not_read_before_the_key_and_never_beyond_its_limit(server: Server, path: str) -> None:
    sent = 0

    def endless() -> Iterator[bytes]:
        nonlocal sent
        while sent < 500 * 2**20:
            sent += 2**20
            yield b" " * 2**20

    for headers, status, code in (({}, 401, "no_key"), (KEY, 413, "too_many_bytes")):
        sent = 0
        try:
            response = server.client.put(path, content=endless(), headers=headers)
        except httpx.HTTPError:
            pass  # it was cut off while it still sent: as good an end
        else:
            assert_problem(response, status, code)
        assert sent < 400 * 2**20


@pytest.mark.parametrize("name", ["fovea-state.json", "fovea-state.json.corrupt-1", "README.md"])
def test_an_upload_does_not_take_the_place_of_a_file(server: Server, models: Path, name: str) -> None:
    (models / "README.md").write_text("ours")
    data = bytes(colour_graph().SerializeToString())
    assert_problem(server.client.post(f"/models/{name}/versions", content=data, headers=KEY), 409, "conflict")
    assert (models / "README.md").read_text() == "ours"
    changed = server.client.put("/models/default", content=b'{"name": "other"}', headers=KEY)
    assert changed.status_code == 200


def test_a_state_file_that_blocks_or_never_ends_harms_nobody(server: Server, models: Path, red_png: bytes) -> None:
    state = models / "fovea-state.json"
    for kind in ("pipe", "endless", "folder"):
        match kind:
            case "pipe":
                os.mkfifo(state)
            case "endless":
                state.symlink_to("/dev/zero")
            case _:
                state.mkdir()
        time.sleep(1.2)
        assert server.client.get("/health/live", timeout=2).status_code == 200
        assert server.client.post("/infer?model=other", content=red_png, timeout=5).status_code == 200
        state.rmdir() if state.is_dir() else state.unlink()


@pytest.mark.parametrize("version", ["9" * 5000, "٣", "a/b", "", -1, 10**9, True, 1.5, None])
def test_a_version_that_is_none_is_422(server: Server, version: object) -> None:
    response = server.client.put("/models/colour/active", content=json.dumps({"version": version}), headers=KEY)
    assert_problem(response, 422, "invalid_parameter")
    assert_problem(server.client.post(f"/infer?version={'9' * 20}", content=b"x"), 404, "unknown_model")


def test_a_state_file_of_half_a_character_is_corrupt(server: Server, models: Path) -> None:
    (models / "fovea-state.json").write_text('{"default": "\\ud800"}')
    until(lambda: list(models.glob("fovea-state.json.corrupt-*")))
    changed = server.client.put("/models/default", content=b'{"name": "other"}', headers=KEY)
    assert changed.status_code == 200


def test_headers_without_an_end_are_cut_off(models: Path) -> None:
    with running_service(API_MODELS_DIR=str(models), API_DEFAULT_MODEL="colour") as service:
        port = httpx.URL(service.base_url).port
        assert port
        before = service.rss_mb()
        for start in (b"GET /health/live?", b"GET /health/live HTTP/1.1\r\nHost: x\r\nX-Long: "):
            answer = b""
            with socket.create_connection(("127.0.0.1", port), timeout=10) as connection, contextlib.suppress(OSError):
                connection.sendall(start)
                for _ in range(200):
                    connection.sendall(b"x" * 2**20)
                answer = connection.recv(1000)
            assert not answer.startswith(b"HTTP/1.1 200")
        assert service.rss_mb() < before + 50
        fits = httpx.get(f"{service.base_url}/health/live", headers={"X-Long": "x" * 30_000})
        assert fits.status_code == 200


def test_a_log_line_carries_no_terminal_sequences(models: Path) -> None:
    with running_service(API_MODELS_DIR=str(models), API_DEFAULT_MODEL="colour") as service:
        httpx.get(f"{service.base_url}/x%1b[31mRED%c2%85")
        until(lambda: "RED" in "".join(service.log))
    written = "".join(service.log)
    assert "\x1b[31m" not in written
    assert "\x85" not in written


def test_a_folder_that_becomes_unclear_is_told_and_goes_on_as_it_was(server: Server, models: Path) -> None:
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
    time.sleep(1.5)
    assert server.client.post("/infer?model=pair", content=red).status_code == 200
    told = assert_problem(server.client.post("/infer?model=two words", content=red), 503, "model_unavailable")
    assert "rename" in told


def test_uploads_at_the_same_time_each_get_a_number_of_their_own(server: Server) -> None:
    from concurrent.futures import ThreadPoolExecutor

    data = bytes(colour_graph().SerializeToString())

    def upload(_: int) -> httpx.Response:
        return httpx.post(f"{server.client.base_url}/models/colour/versions", content=data, headers=KEY, timeout=30)

    with ThreadPoolExecutor(4) as clients:
        answers = list(clients.map(upload, range(4)))
    assert sorted(answer.json()["version"] for answer in answers) == [2, 3, 4, 5]


def test_a_choice_of_a_version_can_be_taken_back(server: Server, models: Path) -> None:
    add_model(models, "colour", colour_graph(gain=3), version=2)
    until(lambda: server.client.get("/models/colour").json()["serving"] == 2)
    pinned = server.client.put("/models/colour/active", content=b'{"version": 1}', headers=KEY).json()
    assert (pinned["active"], pinned["pinned"]) == (1, True)
    free = server.client.delete("/models/colour/active", headers=KEY).json()
    assert (free["active"], free["pinned"]) == (2, False)
    until(lambda: server.client.get("/models/colour").json()["serving"] == 2)
