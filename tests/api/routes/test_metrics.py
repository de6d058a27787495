"""GET /metrics: its formats and its key."""

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as open_metrics
from prometheus_client.parser import text_string_to_metric_families as plain

from tests.conftest import Serve
from tests.server import Server


def test_text_and_openmetrics_formats_are_served(server: Server) -> None:
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


@pytest.mark.parametrize("version", ["x", "", "1", "1.x", "9.9.9", "-1", "=", "\xe9"])
@pytest.mark.parametrize("kind", ["application/openmetrics-text", "text/plain"])
def test_odd_version_in_accept_header_is_answered(server: Server, kind: str, version: str) -> None:
    accept = f"{kind};version={version}".encode("latin-1")
    response = server.client.get("/metrics", headers=[(b"Accept", accept)])
    assert response.status_code == 200
    assert "fovea_workers 1.0" in response.text


@pytest.mark.parametrize(("protect", "status"), [("", 200), ("metrics", 401)])
def test_metrics_need_a_key_if_protected(serve: Serve, protect: str, status: int) -> None:
    client = serve(keys=("secret",), protect=protect).client
    assert client.get("/metrics").status_code == status
    assert client.get("/metrics", headers={"Authorization": "Bearer secret"}).status_code == 200
