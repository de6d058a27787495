"""A Ray cluster of three nodes on this machine, with Serve's own proxy or with HAProxy.

Ray reads RAY_SERVE_ENABLE_HA_PROXY when it is imported, so each proxy takes a run of pytest: `make cluster` has both.
"""

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster.serve_cluster import ServeCluster, environment
from tests.e2e.services import make_models, own_models
from tests.e2e.test_dialects import write_client_models


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The models folder of all nodes, with `colour`, the default, and `other`."""
    return make_models(tmp_path_factory.mktemp("models"))


@pytest.fixture(scope="session")
def cluster() -> Iterator[ServeCluster]:
    """Without an application: see `deploy`."""
    folder = Path(tempfile.mkdtemp(prefix="ray-", dir="/tmp"))  # Unix sockets need a short path
    try:
        with pytest.MonkeyPatch.context() as patch:
            for name, value in environment(folder).items():
                patch.setenv(name, value)
            with ServeCluster(folder) as started:
                yield started
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def settings(models: Path) -> dict[str, str]:
    return own_models(models)


@pytest.fixture(scope="session")
def client_settings(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """For all clients of docs/clients.md: the models of each of their tests."""
    models = write_client_models(make_models(tmp_path_factory.mktemp("models")))
    patient = {"API_REQUEST_TIMEOUT_MS": "120000", "API_BODY_TIMEOUT_S": "4"}
    return own_models(models) | patient


@pytest.fixture(scope="session")
def service(cluster: ServeCluster, client_settings: dict[str, str]) -> ServeCluster:
    cluster.deploy(client_settings)
    return cluster
