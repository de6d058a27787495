"""/metrics adds up what all workers have counted, including those that have ended.

Under a server other than `python main.py` that takes PROMETHEUS_MULTIPROC_DIR.
"""

import os
import re
import signal
from pathlib import Path

import httpx
import pytest

from tests.e2e.services import RED, SERVERS, WAIT_S, infer, own_models
from tests.process import running
from tests.server import until
from tests.tiny_models import add_model, colour_graph

REQUESTS, ASKED = 30, 12
SEVERAL = [name for name, server in SERVERS.items() if server.workers > 1]


def pictures(base_url: str) -> float:
    """Counted for the model `colour`; each call may be answered by another worker."""
    text = httpx.get(f"{base_url}/metrics", timeout=WAIT_S).text
    return sum(
        float(found) for found in re.findall(r'^fovea_pictures_total\{[^}]*"colour"[^}]*\} (\S+)$', text, re.MULTILINE)
    )


@pytest.mark.parametrize("name", SEVERAL)
def test_counters_are_those_of_all_workers_and_never_go_back(tmp_path: Path, name: str) -> None:
    add_model(tmp_path / "models", "colour", colour_graph())
    server = SERVERS[name]
    (tmp_path / "metrics").mkdir()
    counted = {} if name.startswith("main") else {"PROMETHEUS_MULTIPROC_DIR": str(tmp_path / "metrics")}
    settings = own_models(tmp_path / "models", tmp_path / "cache") | server.settings | counted
    with running(settings, server.with_port()) as service:
        until(lambda: len(service.workers()) == 2)
        for _ in range(REQUESTS):
            assert infer(service, RED).status_code == 200
        assert {pictures(service.base_url) for _ in range(ASKED)} == {REQUESTS}
        killed = service.workers()[0]
        os.kill(killed, signal.SIGKILL)
        until(lambda: len(service.workers()) == 2 and killed not in service.workers())
        until(service.is_ready)
        assert {pictures(service.base_url) for _ in range(ASKED)} == {REQUESTS}
