"""API_RATE_LIMIT counts a client's requests: exactly in one process, and over workers with a Redis server."""

import shutil
import socket
import subprocess
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from tests.e2e.services import RED, SERVERS, free_port, own_models
from tests.process import Service, running
from tests.server import until
from tests.tiny_models import add_model, colour_graph

LIMIT, SENT = 20, 60


@pytest.fixture
def settings(tmp_path: Path) -> dict[str, str]:
    add_model(tmp_path / "models", "colour", colour_graph())
    limit = {"API_RATE_LIMIT": f"{LIMIT}/hour", "API_TRUSTED_PROXIES": "127.0.0.1"}
    return own_models(tmp_path / "models", tmp_path / "cache") | limit


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[str]:
    """The URL of a Redis server."""
    port = free_port()
    command = [shutil.which("redis-server") or "/usr/bin/redis-server", "--port", str(port), "--save", ""]
    process = subprocess.Popen([*command, "--dir", str(tmp_path), "--bind", "127.0.0.1"], stdout=subprocess.DEVNULL)
    try:
        until(lambda: _listens(port))
        yield f"redis://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait()


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def send(service: Service, clients: list[str]) -> Counter[int]:
    """The statuses of one request for each of `clients`, on connections of their own, so that all workers get some."""

    def one(client: str) -> int:
        headers = {"X-Forwarded-For": f"203.0.113.99, {client}"}
        return httpx.post(f"{service.base_url}/infer", content=RED, headers=headers, timeout=30).status_code

    with ThreadPoolExecutor(6) as senders:
        return Counter(senders.map(one, clients))


def test_one_process_counts_exactly(settings: dict[str, str]) -> None:
    with running(settings) as service:
        assert send(service, ["203.0.113.1"] * SENT) == {200: LIMIT, 429: SENT - LIMIT}
        network = ["2001:db8::1", "2001:db8::2"] * (SENT // 2)
        assert send(service, network) == {200: LIMIT, 429: SENT - LIMIT}, "an IPv6 network is one client"


@pytest.mark.parametrize("name", ["main", "uvicorn"])
def test_workers_share_a_redis_server_and_count_exactly(settings: dict[str, str], redis: str, name: str) -> None:
    several = {"main": [*SERVERS["main"].command], "uvicorn": [*SERVERS["uvicorn"].with_port(), "--workers", "3"]}[name]
    more = {"API_RATE_LIMIT_STORAGE": redis, "API_WORKERS": "3"}
    with running(settings | more, several) as service:
        until(lambda: len(service.workers()) == 3)
        assert send(service, ["203.0.113.1"] * SENT) == {200: LIMIT, 429: SENT - LIMIT}


def test_without_a_redis_server_requests_are_answered(settings: dict[str, str]) -> None:
    """A limit that cannot be counted is not a reason to answer nothing, and never a 500."""
    nothing = f"redis://127.0.0.1:{free_port()}"
    with running(settings | {"API_RATE_LIMIT_STORAGE": nothing}) as service:
        assert set(send(service, ["203.0.113.1"] * 5)) <= {200, 503}
