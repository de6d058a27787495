"""API_RATE_LIMIT counts a client's requests: exactly in one process, and over workers with a Redis server."""

import shutil
import socket
import subprocess
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path

import pytest

from tests import plain_http
from tests.e2e.services import RED, SERVERS, free_port, own_models
from tests.process import Service, running
from tests.server import until
from tests.tiny_models import add_model, colour_graph

LIMIT, SENT = 20, 60


@pytest.fixture
def settings(tmp_path: Path) -> dict[str, str]:
    add_model(tmp_path / "models", "colour", colour_graph())
    limit = {"API_RATE_LIMIT": f"{LIMIT}/hour", "API_TRUSTED_PROXIES": "127.0.0.1"}
    return own_models(tmp_path / "models") | limit


@dataclass(frozen=True)
class Redis:
    url: str
    process: subprocess.Popen[bytes]


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[Redis]:
    """A Redis server that keeps nothing on disk."""
    port = free_port()
    command = [shutil.which("redis-server") or "/usr/bin/redis-server", "--port", str(port), "--save", ""]
    process = subprocess.Popen([*command, "--dir", str(tmp_path), "--bind", "127.0.0.1"], stdout=subprocess.DEVNULL)
    try:
        until(lambda: _listens(port))
        yield Redis(f"redis://127.0.0.1:{port}", process)
    finally:
        process.kill()
        process.wait()


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def send_one(service: Service, client: str) -> int:
    """The status of a request on a connection of its own, so that any worker may answer."""
    headers = {"X-Forwarded-For": f"203.0.113.99, {client}"}
    return plain_http.post(f"{service.base_url}/infer", content=RED, headers=headers, timeout=30).status_code


def send(services: Sequence[Service], clients: Sequence[str]) -> Counter[int]:
    """The statuses of one request for each of `clients`, sent to the services in rotation."""
    with ThreadPoolExecutor(6) as senders:
        return Counter(senders.map(send_one, cycle(services), clients))


def test_one_process_counts_exactly(settings: dict[str, str]) -> None:
    with running(settings) as service:
        assert send([service], ["203.0.113.1"] * SENT) == {200: LIMIT, 429: SENT - LIMIT}
        network = ["2001:db8::1", "2001:db8::2"] * (SENT // 2)
        assert send([service], network) == {200: LIMIT, 429: SENT - LIMIT}, "an IPv6 network is one client"


@pytest.mark.parametrize("name", ["main", "uvicorn"])
def test_workers_share_a_redis_server_and_count_exactly(settings: dict[str, str], redis: Redis, name: str) -> None:
    several = {"main": [*SERVERS["main"].command], "uvicorn": [*SERVERS["uvicorn"].with_port(), "--workers", "3"]}[name]
    more = {"API_RATE_LIMIT_STORAGE": redis.url, "API_WORKERS": "3"}
    with running(settings | more, several) as service:
        until(lambda: len(service.workers()) == 3)
        assert send([service], ["203.0.113.1"] * SENT) == {200: LIMIT, 429: SENT - LIMIT}


def test_two_services_share_a_redis_server_and_serve_without_a_limit_when_it_dies(
    settings: dict[str, str], redis: Redis
) -> None:
    settings = settings | {"API_RATE_LIMIT_STORAGE": redis.url}
    with running(settings | {"API_WORKERS": "2"}) as one, running(settings) as other:
        assert send([one, other], ["203.0.113.1"] * SENT) == {200: LIMIT, 429: SENT - LIMIT}
        redis.process.kill()
        redis.process.wait()
        for service in (one, other):
            assert send([service], ["203.0.113.1"] * 10) == {200: 10}, "served without a limit"
            until(lambda service=service: "rate limit storage failed" in service.log_text)  # type: ignore[misc]  # a lambda with a default
            assert not service.bugs()


def test_without_a_redis_server_requests_are_answered(settings: dict[str, str]) -> None:
    """As if no limit was set."""
    nothing = f"redis://127.0.0.1:{free_port()}"
    with running(settings | {"API_RATE_LIMIT_STORAGE": nothing}) as service:
        assert send([service], ["203.0.113.1"] * 2 * LIMIT) == {200: 2 * LIMIT}
