"""deploy/compose.yaml fits the Compose specification, and what it mounts and names exists."""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
from compose_spec import PyCompose
from ruamel.yaml import YAML

from api.settings import ApiSettings
from tests.e2e.deploy.dockerfile import read_steps
from tests.e2e.deploy.manifests import setting_problems, settings_of
from tests.paths import ROOT

DEPLOY = ROOT / "deploy"
COMPOSE = DEPLOY / "compose.yaml"


def read_yaml(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = YAML(typ="safe").load(path.read_text(encoding="utf-8"))
    return found


SERVICES = read_yaml(COMPOSE)["services"]


def mounts(service: str) -> dict[str, str]:
    """Files and folders of the repository by their paths in the container; not the named volumes."""
    triples = [volume.split(":") for volume in SERVICES[service]["volumes"]]
    return {target: source for source, target, *_ in triples if source.startswith(".")}


def test_the_file_fits_the_compose_specification() -> None:
    text = COMPOSE.read_text(encoding="utf-8")
    PyCompose.from_yaml(text).validate()
    with pytest.raises(ValueError, match="read_onyl"):
        PyCompose.from_yaml(text.replace("read_only", "read_onyl"))


def test_every_mounted_path_exists_and_is_read_only() -> None:
    for service, options in SERVICES.items():
        named = {volume.partition(":")[0] for volume in options["volumes"] if not volume.startswith(".")}
        assert named <= read_yaml(COMPOSE)["volumes"].keys()
        assert [path for path in mounts(service).values() if not (DEPLOY / path).exists()] == []
        assert [volume for volume in options["volumes"] if volume.startswith(".") and not volume.endswith(":ro")] == []


def test_the_service_has_valid_settings_and_no_privileges() -> None:
    fovea = SERVICES["fovea"]
    assert (DEPLOY / fovea["build"]["context"] / "Dockerfile").samefile(ROOT / "Dockerfile")
    assert setting_problems(fovea["environment"]) == []
    settings = settings_of(fovea["environment"])
    assert (
        int(fovea["stop_grace_period"].removesuffix("s")) > settings.drain_seconds + settings.request_timeout_ms / 1000
    )
    assert (fovea["read_only"], fovea["cap_drop"]) == (True, ["ALL"])
    assert all("no-new-privileges:true" in options["security_opt"] for options in SERVICES.values())


def test_the_ports_are_those_of_the_image_and_only_the_service_is_open_to_others() -> None:
    [exposed] = [step.text for step in read_steps(ROOT / "Dockerfile") if step.name == "EXPOSE"]
    assert SERVICES["fovea"]["ports"] == [f"{exposed}:{ApiSettings.model_fields['port'].default}"]
    assert all(port.startswith("127.0.0.1:") for name in ("prometheus", "grafana") for port in SERVICES[name]["ports"])


def test_prometheus_accepts_its_configuration_and_scrapes_the_service() -> None:
    config = DEPLOY / mounts("prometheus")["/etc/prometheus/prometheus.yaml"]
    subprocess.run(["promtool", "check", "config", config], check=True, capture_output=True)
    parsed = read_yaml(config)
    assert {f"/etc/prometheus/{rules}" for rules in parsed["rule_files"]} <= mounts("prometheus").keys()
    [job] = parsed["scrape_configs"]
    assert job["static_configs"] == [{"targets": [f"fovea:{ApiSettings.model_fields['port'].default}"]}]


def test_grafana_finds_prometheus_and_the_dashboard() -> None:
    """As its documentation describes provisioning; Grafana itself is not installed here."""
    provisioning = DEPLOY / mounts("grafana")["/etc/grafana/provisioning"]
    [source] = read_yaml(provisioning / "datasources" / "prometheus.yaml")["datasources"]
    assert (source["type"], source["url"], source["isDefault"]) == ("prometheus", "http://prometheus:9090", True)
    [provider] = read_yaml(provisioning / "dashboards" / "fovea.yaml")["providers"]
    dashboard = DEPLOY / mounts("grafana")[f"{provider['options']['path']}/fovea.json"]
    assert json.loads(dashboard.read_text(encoding="utf-8"))["uid"] == "fovea"
    assert "/d/fovea" in COMPOSE.read_text(encoding="utf-8")
