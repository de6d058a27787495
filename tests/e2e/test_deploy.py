"""The files in deploy/ work: nginx takes its configuration and passes requests on, systemd takes the unit."""

import shutil
import subprocess
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from tests import plain_http
from tests.e2e.nginx import check_conf, nginx, write_conf
from tests.e2e.services import RED, own_models
from tests.paths import ROOT
from tests.process import running
from tests.tiny_models import add_model, colour_graph

DEPLOY = ROOT / "deploy"


def test_nginx_accepts_the_configuration(tmp_path: Path) -> None:
    assert check_conf(write_conf(tmp_path, [8000], 8080)) == ""


def test_requests_pass_through_nginx_at_the_root_and_under_a_prefix(tmp_path: Path) -> None:
    add_model(tmp_path / "models", "colour", colour_graph())
    settings = own_models(tmp_path / "models") | {"API_TRUSTED_PROXIES": "127.0.0.1"}
    with (
        running(settings) as service,
        nginx([service.port], tmp_path) as url,
        plain_http.Client(base_url=url, timeout=30) as client,
    ):
        for path in ("/infer", "/vision/infer"):
            answer = client.post(path, content=RED)
            assert answer.status_code == 200, answer.text
            assert answer.json()["predictions"][0]["label"] == "red"
        batch = client.post("/infer/batch", files=[("images", RED)] * 2)
        assert len(batch.json()["results"]) == 2
        assert client.get("/", headers={"X-Large": "x" * 20_000}).status_code == 400, "nginx limits the headers"


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="needs systemd")
def test_systemd_accepts_the_unit() -> None:
    command = ["systemd-analyze", "verify", str(DEPLOY / "systemd" / "fovea.service")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    found = [line for line in done.stderr.splitlines() if "fovea.service" in line and "/opt/fovea/" not in line]
    assert found == []


def test_compose_file_is_valid_yaml() -> None:
    compose = YAML(typ="safe").load((DEPLOY / "compose.yaml").read_text(encoding="utf-8"))
    assert compose["services"]["fovea"]["restart"] == "unless-stopped"
