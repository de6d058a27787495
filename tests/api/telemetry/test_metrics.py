"""The metrics that Prometheus reads after real requests, and those of several processes."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families as plain

from tests.conftest import Serve
from tests.paths import ROOT
from tests.server import service_settings, serving, until

TWO_WORKERS = """
import asyncio, os, signal
from api.telemetry.metrics import Metrics

def scrape():
    print(asyncio.run(metrics.exposition(""))[0].decode(), flush=True)

metrics = Metrics()
counted, count = os.pipe()
pid = os.fork()
metrics.request("/infer", "POST", 200, 0.1)
if not pid:
    asyncio.run(metrics.exposition(""))  # which sets its gauges
    os.write(count, b"x")
    signal.pause()
os.read(counted, 1)
scrape()
os.kill(pid, signal.SIGKILL)
os.waitpid(pid, 0)
print("# the other worker is dead", flush=True)
scrape()
"""


def scrape(client: httpx.Client) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    families = plain(client.get("/metrics").text)
    return {(s.name, frozenset(s.labels.items())): s.value for family in families for s in family.samples}


def value(client: httpx.Client, name: str, **labels: str) -> float:
    return scrape(client).get((name, frozenset(labels.items())), 0.0)


@pytest.fixture(scope="module")
def client(tiny_models: Path) -> Iterator[httpx.Client]:
    """A service that serves only this module."""
    with serving(service_settings(models_dir=tiny_models, default_model="colour")) as server:
        yield server.client


class Since:
    """How much values have grown since its creation."""

    def __init__(self, client: httpx.Client) -> None:
        self._client, self._then = client, scrape(client)

    def __call__(self, name: str, **labels: str) -> float:
        return value(self._client, name, **labels) - self._then.get((name, frozenset(labels.items())), 0.0)


def test_requests_are_counted_by_route_method_and_status(client: httpx.Client, red_png: bytes) -> None:
    grown = Since(client)
    for _ in range(3):
        client.post("/infer", content=red_png)
    client.post("/infer", content=b"no picture")
    client.get("/models/colour")
    client.head("/models/colour")
    counted = {"route": "/infer", "method": "POST"}
    until(lambda: grown("fovea_http_requests_total", route="/models/{name}", method="GET", status="200") == 1)
    until(lambda: grown("fovea_http_requests_total", route="/models/{name}", method="HEAD", status="200") == 1)
    assert grown("fovea_http_requests_total", **counted, status="200") == 3
    assert grown("fovea_http_requests_total", **counted, status="400") == 1
    assert grown("fovea_http_request_duration_seconds_count", route="/infer") == 4
    assert 0 < grown("fovea_http_request_duration_seconds_sum", route="/infer") < 60


def test_unknown_paths_models_and_methods_share_one_label(client: httpx.Client) -> None:
    def series() -> set[str]:
        return {str(sorted(labels)) for name, labels in scrape(client) if "http" in name}

    grown = Since(client)

    client.get("/invented")
    client.get("/models/invented")
    client.request("LOCK", "/models")
    series()
    before = series()
    for number in range(20):
        client.get(f"/invented/{number}")
        client.get(f"/models/invented-{number}")
        client.request("LOCK", "/models")
        client.post(f"/infer?model=invented-{number}")
    new = "\n".join(series() - before)
    assert "invented" not in new + "\n".join(before)
    assert set(re.findall(r"'route', '([^']*)'", new)) <= {"/infer"}
    assert grown("fovea_http_requests_total", route="other", method="GET", status="404") == 21


def test_pictures_stages_and_errors_are_counted_in_batches_too(client: httpx.Client, red_png: bytes) -> None:
    grown = Since(client)
    client.post("/infer", content=red_png)
    client.post("/infer/batch", files=[("images", red_png), ("images", b"no picture"), ("images", red_png)])
    client.post("/infer?model=nope", content=red_png)
    until(lambda: grown("fovea_errors_total", code="unknown_model") == 1)
    assert grown("fovea_errors_total", code="undecodable_image") == 1
    assert grown("fovea_pictures_total", model="colour", version="1") == 3
    for stage in ("decode", "preprocess", "queue", "inference", "postprocess"):
        assert grown("fovea_stage_duration_seconds_count", model="colour", stage=stage) == 3
        assert grown("fovea_stage_duration_seconds_bucket", model="colour", stage=stage, le="+Inf") == 3
        assert grown("fovea_stage_duration_seconds_sum", model="colour", stage=stage) > 0


def test_runs_of_models_that_run_several_pictures_together_are_counted(serve: Serve, red_png: bytes) -> None:
    client = serve(max_batch=2, intra_op_threads=1).client
    for _ in range(3):
        client.post("/infer", content=red_png)
    assert value(client, "fovea_batch_size_count", model="colour") == 3
    assert value(client, "fovea_batch_size_sum", model="colour") == 3


def test_models_queues_and_the_process_are_shown(client: httpx.Client, red_png: bytes) -> None:
    client.post("/infer", content=red_png)
    found = scrape(client)
    assert value(client, "fovea_model_workers", model="colour", version="1", state="ready") == 1
    assert value(client, "fovea_model_loads_total", model="colour", result="ok") == 1
    assert value(client, "fovea_model_load_duration_seconds_count", model="colour") == 1
    for gauge in ("fovea_requests_waiting", "fovea_requests_running"):
        assert found[gauge, frozenset({("model", "colour")})] == 0
    assert value(client, "fovea_workers") == value(client, "fovea_workers_ready") == 1
    assert value(client, "fovea_queue_limit") == 64
    assert not [name for name, _ in found if "certificate" in name]
    assert value(client, "process_resident_memory_bytes", worker="0") > 10_000_000
    assert value(client, "process_open_fds", worker="0") > 3
    assert [labels for name, labels in found if name == "fovea_build_info"]


def test_two_applications_in_one_process_count_separately(serve: Serve, red_png: bytes) -> None:
    one, other = serve(), serve()
    one.client.post("/infer", content=red_png)
    assert value(one.client, "fovea_pictures_total", model="colour", version="1") == 1
    assert value(other.client, "fovea_pictures_total", model="colour", version="1") == 0


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="no fork")
def test_metrics_of_all_workers_are_added_and_dead_workers_have_no_gauges(tmp_path: Path) -> None:
    environment = {**os.environ, "PROMETHEUS_MULTIPROC_DIR": str(tmp_path / "metrics")}
    ran = subprocess.run(
        [sys.executable, "-c", TWO_WORKERS], cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True, check=True
    )
    before, after = (set(text.splitlines()) for text in ran.stdout.split("# the other worker is dead"))
    count = 'fovea_http_requests_total{method="POST",route="/infer",status="200"} 2.0'
    assert {count, "fovea_workers 2.0"} <= before
    assert {count, "fovea_workers 1.0"} <= after
    assert any(line.startswith('process_resident_memory_bytes{worker="1"}') for line in before)
    assert not any(line.startswith('process_resident_memory_bytes{worker="1"}') for line in after)
