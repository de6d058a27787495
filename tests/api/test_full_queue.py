"""A request to a full queue is rejected before its body is read, and its connection is kept."""

from pathlib import Path

from tests.api.telemetry.test_metrics import value
from tests.conftest import Serve
from tests.problems import assert_problem
from tests.raw_http import connected, post
from tests.server import until
from tests.tiny_models import add_model, solid_png, stuck_on_red_graph

HEAD = b"POST /infer HTTP/1.1\r\nHost: x\r\nContent-Length: 5000000\r\nExpect: 100-continue\r\n\r\n"


def test_full_queue_is_503_before_the_body_is_sent(serve: Serve, tmp_path: Path) -> None:
    add_model(tmp_path, "stuck", stuck_on_red_graph())
    server = serve(models_dir=tmp_path, default_model="stuck", concurrency=1, queue_limit=1, request_timeout_ms=600_000)
    red = solid_png("red")
    with connected(server.port) as running, connected(server.port) as queued, connected(server.port) as client:
        for busy in (running, queued):
            busy.sendall(post(red, headers="X-Request-Timeout-Ms: 600000\r\n"))
        until(lambda: value(server.client, "fovea_requests_waiting", model="stuck") == 1)
        client.sendall(HEAD)
        answer = client.recv(4096)
        rejected = server.client.post("/infer", content=red)
    assert answer.startswith(b"HTTP/1.1 503 ")  # without 100 Continue
    assert b"retry-after: " in answer.lower()
    assert_problem(rejected, 503, "queue_full")
    assert int(rejected.headers["retry-after"]) >= 1
    assert rejected.headers.get("connection") != "close"
    assert value(server.client, "fovea_errors_total", code="queue_full") == 2
    assert server.client.post("/infer", content=solid_png("black")).status_code == 200
