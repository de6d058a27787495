"""Several workers behind one port: they share the cores, and one that dies is replaced."""

import os
import signal
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from tests.process import Service, running_service

CAT = (Path(__file__).parents[1] / "tests" / "data" / "cat.jpg").read_bytes()
WAIT_S = 30.0


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    with running_service(API_WORKERS="2", API_CACHE_DIR=str(tmp_path), API_TUNE="quick") as service:
        yield service


def workers(service: Service) -> set[int]:
    """Process ids of those that serve; Python's own helper processes and the dead do not count."""
    children = Path(f"/proc/{service.pid}/task/{service.pid}/children").read_text().split()
    return {int(child) for child in children if b"spawn_main" in Path(f"/proc/{child}/cmdline").read_bytes()}


def ask(service: Service) -> str:
    """On a connection of its own, so that any worker may get it."""
    answer = httpx.post(f"{service.base_url}/infer", content=CAT, timeout=WAIT_S)
    assert answer.status_code == 200, answer.text
    return str(answer.json()["predictions"][0]["label"])


def test_two_workers_answer_share_the_cores_and_one_killed_is_replaced(service: Service) -> None:
    with ThreadPoolExecutor(8) as threads:
        labels = set(threads.map(ask, [service] * 40))
    assert labels == {"tiger cat"}
    plan = httpx.get(f"{service.base_url}/models/efficientnet-lite0").json()["tuning"]["plan"]
    cores = max(1, len(os.sched_getaffinity(0)) // 2)
    assert max(plan["widths"]) <= cores

    first = workers(service)
    assert len(first) == 2
    victim = min(first)
    os.kill(victim, signal.SIGKILL)
    until = time.monotonic() + WAIT_S
    while len(alive := workers(service)) < 2 or victim in alive:
        assert time.monotonic() < until, "the dead worker was not replaced"
        assert ask(service) == "tiger cat", "the other one goes on"
    assert ask(service) == "tiger cat"
