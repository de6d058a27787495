"""A request to a full queue is rejected before its body is read, and its connection is kept."""

import socket
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx

from tests.api.telemetry.test_metrics import value
from tests.conftest import Serve
from tests.server import until
from tests.tiny_models import add_model, solid_png, stuck_on_red_graph

HEAD = b"POST /infer HTTP/1.1\r\nHost: x\r\nContent-Length: 5000000\r\nExpect: 100-continue\r\n\r\n"


def test_full_queue_is_503_before_the_body_is_sent(serve: Serve, tmp_path: Path) -> None:
    add_model(tmp_path, "stuck", stuck_on_red_graph())
    server = serve(models_dir=tmp_path, default_model="stuck", concurrency=1, queue_limit=1)
    red, short = solid_png("red"), {"X-Request-Timeout-Ms": "600"}
    url = f"http://127.0.0.1:{server.port}/infer"
    with ThreadPoolExecutor(2) as clients:
        served = [clients.submit(httpx.post, url, content=red, headers=short, timeout=60) for _ in range(2)]
        until(lambda: value(server.client, "fovea_requests_waiting", model="stuck") == 1)
        with socket.create_connection(("127.0.0.1", server.port), timeout=10) as client:
            client.sendall(HEAD)
            answer = client.recv(4096)
        rejected = server.client.post("/infer", content=red, headers=short)
        assert [future.result().status_code for future in served] == [504, 504]
    assert answer.startswith(b"HTTP/1.1 503 ")  # without 100 Continue
    assert b"retry-after: " in answer.lower()
    assert (rejected.status_code, rejected.json()["code"]) == (503, "queue_full")
    assert int(rejected.headers["retry-after"]) >= 1
    assert rejected.headers.get("connection") != "close"
    assert value(server.client, "fovea_errors_total", code="queue_full") == 2
    assert server.client.post("/infer", content=solid_png("black")).status_code == 200
