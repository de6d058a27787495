import json
import logging
import re
from pathlib import Path

import pytest

from api.telemetry.logs import flush_logs
from tests.server import Server, request_lines, service_settings, serving


def test_well_formed_request_id_is_kept(server: Server, red_png: bytes) -> None:
    response = server.client.post("/infer", content=red_png, headers={"X-Request-ID": "order-66_a.b"})
    assert response.headers["x-request-id"] == response.json()["request_id"] == "order-66_a.b"


@pytest.mark.parametrize("given", ["", "a b", "a" * 129, "<script>", 'x"y', "ü"])
def test_malformed_request_id_is_replaced(server: Server, given: str) -> None:
    response = server.client.get("/health/live", headers=[(b"X-Request-ID", given.encode("latin-1"))])
    assert re.fullmatch(r"[0-9a-f]{32}", response.headers["x-request-id"])


def test_each_request_is_logged_once_with_its_status(server: Server, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    server.client.get("/nope", headers={"X-Request-ID": "the-one"})
    lines = request_lines(caplog, "the-one")
    assert len(lines) == 1
    assert (lines[0]["status"], lines[0]["path"], lines[0]["code"]) == (404, "/nope", "not_found")


def test_json_log_has_one_object_per_line(tiny_models: Path, red_png: bytes, capfd: pytest.CaptureFixture[str]) -> None:
    with serving(service_settings(models_dir=tiny_models, default_model="colour", log_format="json")) as server:
        server.client.post("/infer", content=red_png, headers={"X-Request-ID": "json-1"})
        server.client.post("/infer", content=b"no\npicture", headers={"X-Request-ID": "json-2"})
    flush_logs()
    written = capfd.readouterr().err
    lines = [json.loads(line) for line in written.splitlines() if line.startswith("{")]  # another test may still log
    requests = [line for line in lines if line.get("request_id") in ("json-1", "json-2")]
    assert [line["status"] for line in requests] == [200, 400]
    assert {"timestamp", "level", "method", "path", "ms", "request_id", "client"} <= set(requests[0])
    assert requests[0]["model"] == "colour"
    assert requests[1]["code"] == "undecodable_image"


def test_text_log_escapes_forged_lines(tiny_models: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with serving(service_settings(models_dir=tiny_models, default_model="colour", log_format="text")) as server:
        server.client.get("/a%0A2026-01-01%20forged")
    flush_logs()
    written = capfd.readouterr().err
    assert "forged" in written
    assert not [line for line in written.splitlines() if line.startswith("2026-01-01")]
