"""POST /infer/batch: results, streams, rejected forms, slow uploads and disconnects."""

import json
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from api.schemas import BatchResponse, BatchResult
from engine.models.load_policy import LoadPolicy
from tests.api.telemetry.test_metrics import value
from tests.pictures_by_colour import colour_picture
from tests.problems import assert_problem
from tests.server import Server, request_lines, service_settings, serving, until
from tests.tiny_models import add_model, colour_graph, slow_graph, solid_png, stuck_on_red_graph

LARGEST = 20_000
BODY_TIMEOUT_S = 0.5
COLOURS = [["red", "lime", "blue"][n * n % 7 % 3] for n in range(64)]
LABELS = [colour.replace("lime", "green") for colour in COLOURS]
PICTURES = {colour: colour_picture(colour) for colour in set(COLOURS)}
Files = list[tuple[str, tuple[str, bytes]]]
NEXT = b"\r\n--b\r\n"
BOUNDARY = {"Content-Type": "multipart/form-data; boundary=b"}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    models = tmp_path_factory.mktemp("models")
    add_model(models, "colour", colour_graph())
    add_model(models, "slow", slow_graph(rounds=40))
    add_model(models, "stuck", stuck_on_red_graph())
    settings = service_settings(
        models_dir=models,
        default_model="colour",
        load="all",
        concurrency=2,
        queue_limit=4,
        max_upload_bytes=LARGEST,
    )
    with serving(settings) as running:
        yield running


@pytest.fixture(scope="module")
def impatient(server: Server) -> Iterator[Server]:
    """A server with the same models and a short body timeout."""
    settings = server.api.settings.model_copy(update={"body_timeout_s": BODY_TIMEOUT_S, "load": LoadPolicy.ON_DEMAND})
    with serving(settings) as running:
        running.client.post("/infer", content=PICTURES["red"])
        yield running


def pictures(colours: list[str]) -> Files:
    return [("images", (f"{n}.png", PICTURES[colour])) for n, colour in enumerate(colours)]


def send(client: httpx.Client, files: Files, query: str = "") -> httpx.Response:
    return client.post(f"/infer/batch{query}", files=files)


def lines(response: httpx.Response) -> list[dict[str, Any]]:
    assert response.status_code == 200, response.text
    assert response.headers["content-type"] == "application/x-ndjson"
    return [json.loads(line) for line in response.text.splitlines()]


def label(result: dict[str, Any]) -> str:
    return str(result["predictions"][0]["label"])


def test_results_are_in_the_order_of_the_pictures(server: Server) -> None:
    response = send(server.client, pictures(COLOURS), "?top_k=1")
    answer = BatchResponse.model_validate(response.json())
    assert answer.request_id == response.headers["x-request-id"]
    assert [result.index for result in answer.results] == list(range(64))
    assert [result.filename for result in answer.results] == [f"{n}.png" for n in range(64)]
    assert [label(result) for result in response.json()["results"]] == LABELS


def test_streamed_results_are_one_line_each(server: Server) -> None:
    results = lines(send(server.client, pictures(COLOURS), "?stream=true"))
    for result in results:
        BatchResult.model_validate(result)
    assert {result["index"]: label(result) for result in results} == dict(enumerate(LABELS))
    assert len(results) == 64


def test_invalid_picture_is_one_error_result(server: Server) -> None:
    half = colour_picture("red", (64, 64), "JPEG")[:400]
    bad = {
        "empty_image": b"",
        "undecodable_image": b"hello",
        "truncated_image": half,
        "unsupported_format": b"%PDF-1.7\n",
        "too_many_bytes": bytes(LARGEST + 1),
    }
    files: Files = []
    for data in bad.values():
        files += [*pictures(["blue"]), ("images", ("bad", data))]
    answer = send(server.client, [*files, *pictures(["red"])]).json()["results"]
    assert [label(result) for result in answer[::2]] == ["blue"] * len(bad) + ["red"]
    assert [result["error"]["code"] for result in answer[1::2]] == list(bad)
    assert {"type", "title", "status", "detail", "code"} == set(answer[1]["error"])


def test_several_models_give_one_result_each_per_picture(server: Server) -> None:
    results = send(server.client, pictures(["red", "blue"]), "?model=colour&model=colour").json()["results"]
    assert [[model["model"]["name"] for model in result["results"]] for result in results] == [["colour", "colour"]] * 2
    assert [label(result["results"][0]) for result in results] == ["red", "blue"]


@pytest.mark.parametrize("stream", ["false", "true"])
def test_invalid_request_has_its_status_and_code(server: Server, stream: str) -> None:
    def post(query: str = "", **body: Any) -> httpx.Response:  # noqa: ANN401 - httpx's own
        return server.client.post(f"/infer/batch?stream={stream}{query}", **body)

    red = PICTURES["red"]
    assert_problem(post(content=red), 400, "no_picture")
    assert_problem(post(content=b"--b--\r\n", headers=BOUNDARY), 400, "no_picture")
    assert_problem(post(content=b"x", headers=BOUNDARY), 400, "malformed_multipart")
    assert_problem(post(content=b"x", headers={"Content-Type": "multipart/form-data"}), 400, "malformed_multipart")
    assert_problem(post(content=b"x", headers={"Content-Encoding": "gzip"}), 415, "unsupported_content_encoding")
    assert "?top_k=3" in assert_problem(post(files={"image": red}), 422, "unknown_field")
    assert_problem(post("&topk=1", files={"images": red}), 422, "invalid_parameter")
    assert_problem(post("&model=nope", files={"images": red}), 404, "unknown_model")


def test_pictures_above_the_limit_are_413(server: Server) -> None:
    assert "64" in assert_problem(send(server.client, pictures([*COLOURS, "red"])), 413, "too_many_pictures")


def part(data: bytes, name: str = "images") -> bytes:
    """A part of the form, without its boundaries."""
    return f'Content-Disposition: form-data; name="{name}"; filename="a"\r\n\r\n'.encode() + data


def begin(server: Server, request_id: str, query: str = "") -> socket.socket:
    """Sends the headers of a form, and nothing of its body."""
    connection = socket.create_connection(("127.0.0.1", server.port), timeout=60)
    connection.sendall(
        f"POST /infer/batch{query} HTTP/1.1\r\nHost: x\r\nX-Request-ID: {request_id}\r\nContent-Length: 500000\r\n"
        "Content-Type: multipart/form-data; boundary=b\r\n\r\n".encode()
    )
    return connection


def read_until(connection: socket.socket, end: bytes) -> bytes:
    answer = b""
    while end not in answer:
        received = connection.recv(65_536)
        assert received, answer
        answer += received
    return answer


def test_results_are_streamed_during_the_upload_and_an_error_is_the_last_line(
    server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    with begin(server, "streams", "?stream=true") as connection:
        connection.sendall(NEXT)
        for index, colour in enumerate(["red", "blue"]):
            connection.sendall(part(PICTURES[colour]) + NEXT)
            line = read_until(connection, b"}\n")
            assert f'"index":{index},'.encode() in line
            assert f'"label":"{colour}"'.encode() in line
        connection.sendall(part(b"", "other"))
        last = read_until(connection, b"}}\n")
    assert b'{"error":{' in last
    assert b'"code":"unknown_field","request_id":"streams"' in last
    [logged] = request_lines(caplog, "streams")
    assert (logged["status"], logged["images"], logged["failed"], logged["code"]) == (200, 2, 0, "unknown_field")


@pytest.mark.parametrize("stream", [False, True])
def test_stalled_upload_is_408_after_the_streamed_results(impatient: Server, stream: bool) -> None:
    with begin(impatient, "stalls", f"?stream={stream}") as connection:
        connection.sendall(NEXT + part(PICTURES["red"]) + NEXT)
        answer = read_until(connection, b'"body_too_slow","request_id"')
    assert answer.startswith(b"HTTP/1.1 200 " if stream else b"HTTP/1.1 408 ")
    assert (b'"label":"red"' in answer) == stream
    assert b'"code":"body_too_slow"' in answer


@pytest.mark.slow
def test_body_timeout_excludes_inference_time(impatient: Server) -> None:
    """The pictures of the batch take longer than the body timeout."""
    impatient.client.post("/infer?model=slow", content=PICTURES["red"])
    started, count = time.monotonic(), 0
    while time.monotonic() - started < BODY_TIMEOUT_S:  # one request after the other measures the machine
        impatient.client.post("/infer?model=slow", content=PICTURES["red"])
        count += 1
    chosen = COLOURS[: 2 * count]
    results = send(impatient.client, pictures(chosen), "?model=slow").json()["results"]
    assert [label(result) for result in results] == [colour.replace("lime", "green") for colour in chosen]


@pytest.mark.parametrize("stream", [False, True])
def test_disconnect_cancels_the_batch(server: Server, caplog: pytest.LogCaptureFixture, stream: bool) -> None:
    request_id = f"leaves-{stream}"
    with begin(server, request_id, f"?model=stuck&stream={stream}") as connection:
        connection.sendall(b"".join([NEXT + part(solid_png("red"))] * 20))
        until(lambda: value(server.client, "fovea_requests_running", model="stuck") == 2)
    [logged] = request_lines(caplog, request_id)
    assert (logged["status"], logged["images"]) == (499, 0)
    assert server.client.post("/infer?model=stuck", content=solid_png("black")).status_code == 200


def test_single_pictures_are_served_during_batches(server: Server) -> None:
    """The queue limit of four applies to single pictures, not to those of batches."""

    def batch(_: int) -> list[str]:
        return [label(result) for result in send(server.client, pictures(COLOURS)).json()["results"]]

    with ThreadPoolExecutor(4) as clients:
        batches = [clients.submit(batch, n) for n in range(4)]
        singles = []
        while not all(one.done() for one in batches):
            singles.append(server.client.post("/infer", content=PICTURES["blue"]).status_code)
    assert all(one.result() == LABELS for one in batches)
    assert len(singles) > 3
    assert set(singles) == {200}


def test_batch_counts_once_towards_the_rate_limit(tiny_models: Path) -> None:
    settings = service_settings(models_dir=tiny_models, default_model="colour", rate_limit="2/day")
    with serving(settings) as running:
        statuses = [send(running.client, pictures(COLOURS[:5])).status_code for _ in range(3)]
    assert statuses == [200, 200, 429]
