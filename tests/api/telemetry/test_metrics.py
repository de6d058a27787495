"""GET /metrics of a real server: what Prometheus reads after real requests."""

import re
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as open_metrics
from prometheus_client.parser import text_string_to_metric_families as plain

from api.settings import ApiSettings
from engine.scheduling.run_plan import TuneLevel
from tests.conftest import Serve
from tests.server import Server, serving, until


def scrape(client: httpx.Client) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    families = plain(client.get("/metrics").text)
    return {(s.name, frozenset(s.labels.items())): s.value for family in families for s in family.samples}


def value(client: httpx.Client, name: str, **labels: str) -> float:
    return scrape(client).get((name, frozenset(labels.items())), 0.0)


@pytest.fixture(scope="module")
def client(tiny_models: Path) -> Iterator[httpx.Client]:
    """Of a service that nobody else asks."""
    with serving(
        ApiSettings(_env_file=None, models_dir=tiny_models, default_model="colour", tune=TuneLevel.OFF)
    ) as server:
        yield server.client


class Since:
    """How much a value has grown since this was made."""

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


def test_what_anybody_may_invent_adds_one_value_only(client: httpx.Client) -> None:
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


def test_pictures_stages_and_errors_are_counted_with_those_of_batches(client: httpx.Client, red_png: bytes) -> None:
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


def test_models_queues_and_the_process_are_shown(client: httpx.Client, red_png: bytes) -> None:
    client.post("/infer", content=red_png)
    found = scrape(client)
    assert value(client, "fovea_model_workers", model="colour", version="1", state="ready") == 1
    assert value(client, "fovea_model_loads_total", model="colour", result="ok") == 1
    assert value(client, "fovea_model_load_duration_seconds_count", model="colour") == 1
    for gauge in ("fovea_requests_waiting", "fovea_requests_running"):
        assert found[gauge, frozenset({("model", "colour")})] == 0
    assert value(client, "fovea_workers") == 1
    assert value(client, "process_resident_memory_bytes", worker="0") > 10_000_000
    assert value(client, "process_open_fds", worker="0") > 3
    assert [labels for name, labels in found if name == "fovea_build_info"]


def test_it_speaks_both_of_prometheus_formats(server: Server) -> None:
    server.client.get("/health/live")
    text = server.client.get("/metrics")
    assert text.headers["content-type"].startswith("text/plain; version=")
    families = {family.name: family for family in plain(text.text)}
    assert all(family.documentation for family in families.values())
    accept = {"Accept": "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5"}
    open_text = server.client.get("/metrics", headers=accept)
    assert open_text.headers["content-type"].startswith("application/openmetrics-text; version=1.0.0")
    families = open_metrics(open_text.text)  # type: ignore[no-untyped-call]  # prometheus_client leaves it untyped
    assert {"fovea_http_requests", "fovea_stage_duration_seconds"} <= {family.name for family in families}


def test_two_apps_of_one_process_count_apart(serve: Serve, red_png: bytes) -> None:
    one, other = serve(), serve()
    one.client.post("/infer", content=red_png)
    assert value(one.client, "fovea_pictures_total", model="colour", version="1") == 1
    assert value(other.client, "fovea_pictures_total", model="colour", version="1") == 0


@pytest.mark.parametrize(("protect", "status"), [("", 200), ("metrics", 401)])
def test_it_may_need_a_key(serve: Serve, protect: str, status: int) -> None:
    client = serve(keys=("secret",), protect=protect).client
    assert client.get("/metrics").status_code == status
    assert client.get("/metrics", headers={"Authorization": "Bearer secret"}).status_code == 200
