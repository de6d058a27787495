"""X-Request-Timeout-Ms: a request's own deadline."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from time import perf_counter

import httpx
import pytest

from tests.api.telemetry.test_metrics import value
from tests.conftest import Serve
from tests.server import Server, until
from tests.tiny_models import add_model, solid_png, stuck_on_red_graph

HEADER = "X-Request-Timeout-Ms"
CALLERS = 50
SOON_S = 2.0


@pytest.fixture(scope="module")
def slow_models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    models = tmp_path_factory.mktemp("slow")
    add_model(models, "slow", stuck_on_red_graph())
    return models


@pytest.mark.parametrize("bad", ["0", "-1", "1.5", "soon", "", "1_000", "+5", "9" * 13])
@pytest.mark.parametrize("path", ["/infer", "/infer/batch"])
def test_invalid_timeout_is_422(server: Server, red_png: bytes, path: str, bad: str) -> None:
    files = {"image" if path == "/infer" else "images": red_png}
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
    for path in ("/infer", "/infer/batch"):
        assert HEADER in [parameter["name"] for parameter in paths[path]["post"]["parameters"]]


def test_queued_requests_time_out_while_all_worker_threads_are_busy(serve: Serve, slow_models: Path) -> None:
    server = serve(
        models_dir=slow_models, default_model="slow", concurrency=1, queue_limit=CALLERS, request_timeout_ms=60_000
    )

    red = solid_png("red")

    def infer(timeout_ms: int) -> tuple[int, float]:
        started = perf_counter()
        answer = httpx.post(
            f"http://127.0.0.1:{server.port}/infer", content=red, headers={HEADER: str(timeout_ms)}, timeout=60
        )
        return answer.status_code, perf_counter() - started

    with ThreadPoolExecutor(CALLERS + 2) as clients:
        long = [clients.submit(infer, 1000) for _ in range(2)]
        until(lambda: value(server.client, "fovea_requests_running", model="slow") >= 1)
        short = [clients.submit(infer, 100) for _ in range(CALLERS)]
        answers = [future.result() for future in short]
        assert {status for status, _ in answers} == {504}
        assert max(seconds for _, seconds in answers) < SOON_S
        assert [future.result()[0] for future in long] == [504, 504]
    assert server.client.post("/infer", content=solid_png("black")).status_code == 200
    assert value(server.client, "fovea_requests_waiting", model="slow") == 0
    assert value(server.client, "fovea_requests_running", model="slow") == 0
    assert value(server.client, "fovea_errors_total", code="deadline_exceeded") == CALLERS + 2
