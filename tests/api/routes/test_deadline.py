"""X-Request-Timeout-Ms: a request's own deadline."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.api.telemetry.test_metrics import value
from tests.conftest import Serve
from tests.raw_http import connected, post
from tests.server import Server, until
from tests.tiny_models import add_model, solid_png, stuck_on_red_graph

HEADER = "X-Request-Timeout-Ms"
CALLERS = 50


@pytest.fixture(scope="module")
def slow_models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    models = tmp_path_factory.mktemp("slow")
    add_model(models, "slow", stuck_on_red_graph())
    return models


@pytest.mark.parametrize("bad", ["0", "-1", "1.5", "soon", "", "1_000", "+5", "9" * 13])
@pytest.mark.parametrize("path", ["/infer", "/infer/batch", "/explain"])
def test_invalid_timeout_is_422(server: Server, red_png: bytes, path: str, bad: str) -> None:
    files = {"images" if path == "/infer/batch" else "image": red_png}
    problem = server.client.post(path, files=files, headers={HEADER: bad})
    assert (problem.status_code, problem.json()["code"]) == (422, "invalid_parameter")
    assert HEADER in problem.json()["detail"]


def test_long_timeout_is_accepted(server: Server, red_png: bytes) -> None:
    assert server.client.post("/infer", content=red_png, headers={HEADER: "999999999999"}).status_code == 200


def test_header_cannot_extend_the_services_timeout(serve: Serve, slow_models: Path, red_png: bytes) -> None:
    client = serve(models_dir=slow_models, default_model="slow", request_timeout_ms=20).client
    problem = client.post("/infer", content=red_png, headers={HEADER: "60000"})
    assert (problem.status_code, problem.json()["code"]) == (504, "deadline_exceeded")


def test_openapi_documents_the_header(server: Server) -> None:
    paths = server.client.get("/openapi.json").json()["paths"]
    for path in ("/infer", "/infer/batch", "/explain"):
        assert HEADER in [parameter["name"] for parameter in paths[path]["post"]["parameters"]]


def test_queued_requests_time_out_while_all_worker_threads_are_busy(serve: Serve, slow_models: Path) -> None:
    server = serve(
        models_dir=slow_models, default_model="slow", concurrency=1, queue_limit=CALLERS, request_timeout_ms=60_000
    )
    red = solid_png("red")

    def infer(_: int) -> int:
        return server.client.post("/infer", content=red, headers={HEADER: "100"}).status_code

    with connected(server.port) as client, ThreadPoolExecutor(CALLERS) as clients:
        client.sendall(post(red))
        until(lambda: value(server.client, "fovea_requests_running", model="slow") == 1)
        assert set(clients.map(infer, range(CALLERS))) == {504}
        assert value(server.client, "fovea_requests_running", model="slow") == 1
    until(lambda: value(server.client, "fovea_requests_running", model="slow") == 0)  # its client has disconnected
    assert server.client.post("/infer", content=solid_png("black")).status_code == 200
    assert value(server.client, "fovea_requests_waiting", model="slow") == 0
    assert value(server.client, "fovea_errors_total", code="deadline_exceeded") == CALLERS
