"""deploy/systemd/fovea.service, read by the real systemd-analyze; systemd itself cannot run inside a container."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from tests.e2e.deploy.manifests import setting_problems
from tests.e2e.services import RED, WAIT_S, own_models
from tests.paths import ROOT
from tests.process import MAIN, running
from tests.tiny_models import add_model, colour_graph

UNIT = ROOT / "deploy" / "systemd" / "fovea.service"
pytestmark = pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="needs systemd")


def analyze(*arguments: str) -> str:
    command = ["systemd-analyze", *arguments, str(UNIT)]
    return subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False).stdout


def test_systemd_accepts_the_unit() -> None:
    """But for the program, which is not installed here."""
    assert [line for line in analyze("verify").splitlines() if "/opt/fovea/" not in line] == []


def test_the_exposure_is_at_most_what_the_guide_states() -> None:
    found = re.search(r"Overall exposure level for fovea\.service: ([\d.]+)", analyze("security", "--offline=true"))
    stated = re.search(r"exposure level of ([\d.]+)", (ROOT / "docs" / "operate.md").read_text(encoding="utf-8"))
    assert found
    assert stated
    assert float(found[1]) <= float(stated[1])


def test_the_unit_sets_settings_and_waits_for_the_drain() -> None:
    unit = UNIT.read_text(encoding="utf-8")
    [line] = re.findall(r"^Environment=(.*)$", unit, re.MULTILINE)
    assert setting_problems(dict(word.split("=") for word in line.split())) == []
    # API_DRAIN_SECONDS=5 and the default of API_REQUEST_TIMEOUT_MS
    assert int(re.findall(r"^TimeoutStopSec=(\d+)$", unit, re.MULTILINE)[0]) > 5 + 30


@pytest.mark.parametrize("runtime", ["onnxruntime", "openvino"])
def test_the_service_answers_under_the_rules_for_system_calls(tmp_path: Path, runtime: str) -> None:
    add_model(tmp_path / "models", "colour", colour_graph())
    command = [sys.executable, "-m", "tests.e2e.deploy.sandbox", str(UNIT), *MAIN]
    with running(own_models(tmp_path / "models") | {"API_MODEL_LOADER": runtime}, command) as service:
        answer = httpx.post(f"{service.base_url}/infer", content=RED, timeout=WAIT_S)
        assert answer.status_code == 200, service.log_text
        status = Path(f"/proc/{service.pid}/status").read_text(encoding="utf-8")
        assert re.search(r"^Seccomp_filters:\s+2$", status, re.MULTILINE), status
