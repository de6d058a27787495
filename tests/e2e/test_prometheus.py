"""deploy/grafana and deploy/prometheus with a real Prometheus (Debian's package) that scrapes a service."""

import json
import math
import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import trustme

from tests import plain_http
from tests.certificates import issue, trusting
from tests.e2e.services import RED, WAIT_S, free_port, own_models
from tests.paths import ROOT
from tests.pictures_by_colour import colour_picture
from tests.process import Service, start_service
from tests.server import until
from tests.tiny_models import add_model, colour_graph, not_a_number_graph

RULES = ROOT / "deploy" / "prometheus" / "rules.yaml"
DASHBOARD: dict[str, Any] = json.loads((ROOT / "deploy" / "grafana" / "fovea.json").read_text(encoding="utf-8"))
PANELS: list[dict[str, Any]] = DASHBOARD["panels"]
VARIABLES = {"$__rate_interval": "10s", "$job": "fovea", "$instance": ".*", "$model": ".*"}
CONFIG = """
global: {{scrape_interval: 500ms, evaluation_interval: 500ms}}
rule_files: ["{rules}"]
scrape_configs:
  - job_name: fovea
    scheme: https
    tls_config: {{insecure_skip_verify: true}}
    static_configs: [{{targets: ["127.0.0.1:{port}"]}}]
"""


class Prometheus:
    def __init__(self, api: httpx.Client) -> None:
        self._api = api

    def query(self, expression: str) -> list[float]:
        """The values of all series."""
        answer = self._api.get("/query", params={"query": expression}).json()
        assert answer["status"] == "success", f"{expression}: {answer}"
        return [float(series["value"][1]) for series in answer["data"]["result"]]

    def rules(self) -> list[dict[str, Any]]:
        return [rule for group in self._api.get("/rules").json()["data"]["groups"] for rule in group["rules"]]


class Traffic:
    """Every kind of request that a panel or an alert counts."""

    def __init__(self, client: httpx.Client) -> None:
        self._client = client

    def is_ready(self) -> bool:
        try:
            return self._client.get("/health/ready").status_code == 200
        except httpx.TransportError:
            return False

    def metrics(self) -> str:
        return self._client.get("/metrics").text

    def send(self) -> None:
        white = colour_picture("white")
        statuses = [
            self._client.post(path, content=picture).status_code
            for path, picture in (
                ("/infer", RED),
                ("/infer", b"no picture"),
                ("/infer?model=nan", white),
                ("/infer?model=broken", RED),
            )
        ]
        assert (statuses[0], statuses[1], statuses[2], statuses[3] // 100) == (200, 400, 500, 5)
        assert self._client.post("/infer/batch", files=[("images", RED)] * 4).status_code == 200


@pytest.fixture(scope="module")
def traffic(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Service, Traffic]]:
    folder, authority = tmp_path_factory.mktemp("service"), trustme.CA()
    for name, graph in (("colour", colour_graph()), ("nan", not_a_number_graph())):
        add_model(folder / "models", name, graph)
    (folder / "models" / "broken").mkdir()
    (folder / "models" / "broken" / "model.onnx").write_bytes(b"not a graph")
    certificate, key = issue(authority, folder)
    tls = {"API_TLS_CERT": str(certificate), "API_TLS_KEY": str(key)}
    batches = {"API_MAX_BATCH": "2", "API_INTRA_OP_THREADS": "1"}
    service = start_service(**own_models(folder / "models"), **tls, **batches)
    url = service.base_url.replace("http:", "https:")
    try:
        with httpx.Client(base_url=url, verify=trusting(authority), timeout=30) as client:
            traffic = Traffic(client)
            until(traffic.is_ready)
            yield service, traffic
    except BaseException:
        service.kill()
        raise
    service.terminate()


@pytest.fixture(scope="module")
def prometheus(tmp_path_factory: pytest.TempPathFactory, traffic: tuple[Service, Traffic]) -> Iterator[Prometheus]:
    folder = tmp_path_factory.mktemp("prometheus")
    (folder / "prometheus.yml").write_text(CONFIG.format(rules=RULES, port=traffic[0].port))
    with running_prometheus(folder) as url:
        until(lambda: is_up(f"{url}/-/ready"))
        with plain_http.Client(base_url=f"{url}/api/v1", timeout=30) as api:
            yield Prometheus(api)


@contextmanager
def running_prometheus(folder: Path) -> Iterator[str]:
    address = f"127.0.0.1:{free_port()}"
    command = [
        "prometheus",
        "--config.file=prometheus.yml",
        "--storage.tsdb.path=data",
        f"--web.listen-address={address}",
    ]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, cwd=folder, stdout=log, stderr=log)
    try:
        yield f"http://{address}"
    finally:
        process.terminate()
        process.wait(60)


def is_up(url: str) -> bool:
    try:
        return plain_http.get(url, timeout=WAIT_S).status_code == 200
    except httpx.TransportError:
        return False


def eventually_has_values(prometheus: Prometheus, traffic: Traffic, expressions: list[str]) -> None:
    """Sends requests until each expression has a series with a number."""
    empty = list(expressions)

    def all_have_values() -> bool:
        traffic.send()
        empty[:] = [e for e in empty if all(map(math.isnan, prometheus.query(e)))]
        return not empty

    try:
        until(all_have_values)
    except AssertionError:
        pytest.fail(f"no value: {empty}")


def test_every_query_of_the_dashboard_has_values(prometheus: Prometheus, traffic: tuple[Service, Traffic]) -> None:
    expressions = [target["expr"] for panel in PANELS for target in panel["targets"]]
    for name, value in VARIABLES.items():
        expressions = [expression.replace(name, value) for expression in expressions]
    assert not [expression for expression in expressions if "$" in expression]
    eventually_has_values(prometheus, traffic[1], expressions)


def test_every_alert_has_values_to_compare_and_bugs_fire_one(
    prometheus: Prometheus, traffic: tuple[Service, Traffic]
) -> None:
    until(lambda: all(rule["health"] != "unknown" for rule in prometheus.rules()))
    rules = prometheus.rules()
    assert [rule["name"] for rule in rules if rule["health"] != "ok"] == []
    assert len(rules) == RULES.read_text(encoding="utf-8").count("alert:")
    compared = [re.sub(r" (==|<|>) ", r" \1 bool ", rule["query"]) for rule in rules]
    eventually_has_values(prometheus, traffic[1], compared)
    until(lambda: prometheus.query('ALERTS{alertname="FoveaBug", alertstate="firing"}'))
    assert not prometheus.query('ALERTS{alertname=~"FoveaDown|FoveaNotReady|FoveaCertificateExpires"}')


def test_panels_are_placed_side_by_side() -> None:
    cells = [
        (x, y)
        for place in (panel["gridPos"] for panel in PANELS)
        for x in range(place["x"], place["x"] + place["w"])
        for y in range(place["y"], place["y"] + place["h"])
    ]
    assert len(cells) == len(set(cells))
    assert max(x for x, _ in cells) < 24
    assert len({panel["id"] for panel in PANELS}) == len(PANELS)


def test_the_rules_pass_their_unit_tests() -> None:
    subprocess.run(["promtool", "test", "rules", "rules_test.yaml"], cwd=RULES.parent, check=True)


def test_names_and_types_of_metrics_follow_the_conventions(traffic: tuple[Service, Traffic]) -> None:
    traffic[1].send()
    text = traffic[1].metrics()
    subprocess.run(["promtool", "check", "metrics"], input=text, text=True, check=True)
