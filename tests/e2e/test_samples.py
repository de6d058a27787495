"""A version that disagrees with its samples is not activated: not by a start, a swap, an upload or an operator.

Under a load that never stops, with the real default model, every answer is that of the version that agrees.
"""

import shutil
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests import plain_http
from tests.e2e.load import Load
from tests.e2e.services import CAT, WAIT_S, admin, eventually, service_under
from tests.paths import ROOT
from tests.process import Service

MODEL = ROOT / "models" / "efficientnet-lite0"
RIGHT = (MODEL / "model.toml").read_text(encoding="utf-8")
WRONG = RIGHT.replace('color = "RGB"', 'color = "BGR"')
CLIENTS = 4


@pytest.fixture
def models(tmp_path: Path) -> Path:
    shutil.copytree(MODEL, tmp_path / "models" / "m")
    return tmp_path / "models"


def add_version(models: Path, number: int, spec: str) -> None:
    """Written in a hidden folder and renamed, as an upload does it."""
    hidden = models / ".new"
    shutil.copytree(MODEL / "1", hidden)
    (hidden / "model.toml").write_text(spec)
    hidden.rename(models / "m" / str(number))


@pytest.fixture
def service(models: Path) -> Iterator[Service]:
    """Starts with version 2, which disagrees, above version 1."""
    add_version(models, 2, WRONG)
    with service_under(models=models, API_DEFAULT_MODEL="m") as running:
        yield running


def _version(response: httpx.Response) -> str:
    return f"version {response.json()['model']['version']}" if response.is_success else response.text


def _reason(service: Service, number: int) -> str:
    versions = plain_http.get(f"{service.base_url}/models/m", timeout=WAIT_S).json()["versions"]
    return next((str(version["reason"] or "") for version in versions if version["version"] == number), "")


def _serving(service: Service) -> int:
    return int(plain_http.get(f"{service.base_url}/models/m", timeout=WAIT_S).json()["serving"])


def test_a_version_that_disagrees_is_never_active(service: Service, models: Path) -> None:
    eventually(lambda: _serving(service) == 1)
    assert "3 of 3 samples disagree with efficientnet-lite-pytorch" in _reason(service, 2)
    assert "part at preprocessing" in _reason(service, 2)
    with Load(service.base_url, CLIENTS, CAT, _version) as load, admin(service) as client:
        add_version(models, 3, WRONG)
        eventually(lambda: "disagree" in _reason(service, 3))
        chosen = client.put("/models/m/active", json={"version": 3})
        assert chosen.status_code == 503
        assert "disagree" in chosen.json()["detail"]
        form = {"model": (MODEL / "1" / "model.onnx").read_bytes(), "spec": WRONG.encode()}
        uploaded = client.post("/models/m/versions", files=form)
        assert uploaded.status_code == 422
        assert "disagree" in uploaded.json()["detail"]
    assert set(load.answers) == {"version 1"}, load.answers
    with Load(service.base_url, CLIENTS, CAT, _version) as load:
        add_version(models, 4, RIGHT)
        eventually(lambda: _serving(service) == 4)
    assert set(load.answers) <= {"version 1", "version 4"}
    samples = plain_http.get(f"{service.base_url}/models/m", timeout=WAIT_S).json()["samples"]
    assert samples["summary"].startswith("agrees with its framework: 3 of 3, largest difference 0.00")
