"""With Redis, the limit of a client is exact over several workers and services."""

import shutil
import socket
import subprocess
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from tests.paths import ROOT
from tests.process import running_service
from tests.server import until

CAT = (ROOT / "tests" / "data" / "cat.jpg").read_bytes()
REDIS = shutil.which("redis-server")

pytestmark = pytest.mark.skipif(REDIS is None, reason="redis-server is not installed")


@pytest.fixture
def redis() -> "Iterator[tuple[str, subprocess.Popen[bytes]]]":
    """The URL and the process of a Redis server that keeps nothing on disk."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    options = ("--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no")
    process = subprocess.Popen([str(REDIS), *options], stdout=subprocess.DEVNULL)
    try:
        until(lambda: is_open(port))
        yield f"redis://127.0.0.1:{port}", process
    finally:
        process.kill()
        process.wait()


def is_open(port: int) -> bool:
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0


def infer(base_url: str, client: str) -> int:
    """Sends a picture over a new connection, so that requests reach all workers."""
    headers = {"X-Forwarded-For": f"203.0.113.99, {client}"}
    return httpx.post(f"{base_url}/infer", content=CAT, headers=headers, timeout=30).status_code


def test_limit_is_shared_by_workers_and_services(redis: "tuple[str, subprocess.Popen[bytes]]") -> None:
    url, process = redis
    settings = {"API_RATE_LIMIT": "20/hour", "API_RATE_LIMIT_STORAGE": url, "API_TRUSTED_PROXIES": "127.0.0.1"}
    with (
        running_service(API_WORKERS="2", **settings) as one,
        running_service(API_WORKERS="1", **settings) as other,
        ThreadPoolExecutor(6) as senders,
    ):
        urls = [one.base_url, other.base_url] * 20
        first = Counter(senders.map(infer, urls, ["203.0.113.1"] * 40))
        second = Counter(senders.map(infer, urls, ["2001:db8::1", "2001:db8::2"] * 20))  # one /64 network
        assert first == second == {200: 20, 429: 20}
        process.kill()
        process.wait()
        assert infer(one.base_url, "203.0.113.1") == 200, "served without a limit"
        until(lambda: any("rate limit storage failed" in line for line in one.log))
