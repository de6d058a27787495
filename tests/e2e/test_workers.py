"""A supervisor and its workers: shared cores, connections handed out evenly, and one that ends or hangs."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPConnection
from pathlib import Path
from select import select

import httpx
import pytest

from tests.crashing_model import crashing_graph
from tests.paths import ROOT
from tests.process import Service, running_service, start_service
from tests.server import until
from tests.tiny_models import add_model, colour_graph, solid_png

CAT = (ROOT / "tests" / "data" / "cat.jpg").read_bytes()
KEY = {"X-API-Key": "boss"}
WAIT_S = 30.0
GREY, WHITE = solid_png("grey"), solid_png("white")


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    with running_service(API_WORKERS="2", API_CACHE_DIR=str(tmp_path), API_TUNE="quick") as service:
        until(lambda: sum("ready: efficientnet-lite0" in line for line in service.log) == 2)
        time.sleep(1)  # each says twice a second that it is able
        yield service


@pytest.fixture
def models(tmp_path: Path) -> Path:
    """`colours` in two versions, of which 2 is active; `crashing` crashes its process on white."""
    folder = tmp_path / "models"
    for version in (1, 2):
        add_model(folder, "colours", colour_graph(), version=version)
    add_model(folder, "crashing", crashing_graph())
    return folder


@pytest.fixture
def small(models: Path, tmp_path: Path) -> Iterator[Service]:
    settings = {"API_MODELS_DIR": str(models), "API_DEFAULT_MODEL": "colours", "API_CACHE_DIR": str(tmp_path / "cache")}
    with running_service(API_WORKERS="2", API_ADMIN_KEYS="boss", **settings) as service:
        yield service


def ask(service: Service, picture: bytes = CAT, query: str = "") -> httpx.Response:
    """On a connection of its own, so that any worker may get it."""
    return httpx.post(f"{service.base_url}/infer{query}", content=picture, timeout=WAIT_S)


def label(service: Service) -> str:
    answer = ask(service)
    assert answer.status_code == 200, answer.text
    return str(answer.json()["predictions"][0]["label"])


def test_two_workers_share_the_cores_and_each_may_have_all_of_them(service: Service) -> None:
    with ThreadPoolExecutor(8) as threads:
        labels = set(threads.map(label, [service] * 40))
    assert labels == {"tiger cat"}
    plan = httpx.get(f"{service.base_url}/models/efficientnet-lite0").json()["tuning"]["plan"]
    assert max(plan["widths"]) <= len(os.sched_getaffinity(0))
    until(lambda: sum("ready: efficientnet-lite0" in line for line in service.log) == 2)
    *before, _ = [line for line in service.log if "tuned:" in line]
    assert all("others were busy" in line for line in before), "what one found out the other reads"


class Asker(threading.Thread):
    """Asks on one kept connection until told to stop, or until the connection is cut."""

    def __init__(self, service: Service) -> None:
        super().__init__()
        self.statuses: Counter[int] = Counter()
        self.cut = False
        self._url = service.base_url
        self._ending = threading.Event()

    def run(self) -> None:
        with httpx.Client(base_url=self._url, timeout=WAIT_S) as client:
            while not self._ending.is_set():
                try:
                    self.statuses[client.post("/infer", content=CAT).status_code] += 1
                except httpx.TransportError:
                    self.cut = True
                    return

    def stop(self) -> None:
        self._ending.set()
        self.join()


def test_a_killed_worker_is_replaced_and_the_other_loses_nothing(service: Service) -> None:
    askers = [Asker(service) for _ in range(8)]
    for asker in askers:
        asker.start()
    until(lambda: all(asker.statuses[200] > 2 for asker in askers))
    before = service.workers()
    os.kill(before[0], signal.SIGKILL)
    until(lambda: len(set(service.workers()) - {before[0]}) == 2)
    assert label(service) == "tiger cat"
    for asker in askers:
        asker.stop()
    assert sum(asker.cut for asker in askers) == 4, "connections were handed out evenly; those of the other go on"
    assert all(set(asker.statuses) == {200} for asker in askers)


def test_connections_that_a_killed_worker_had_not_taken_are_served_by_the_other(service: Service) -> None:
    killed = service.workers()[0]
    address = httpx.URL(service.base_url)
    clients = [HTTPConnection(address.host, address.port, timeout=WAIT_S) for _ in range(8)]
    os.kill(killed, signal.SIGSTOP)  # connections still go to it for two seconds
    for client in clients:
        client.request("POST", "/infer", body=CAT)
    until(lambda: select([client.sock for client in clients], [], [], 0)[0])
    time.sleep(0.5)
    answered = len(select([client.sock for client in clients], [], [], 0)[0])
    assert 0 < answered < len(clients), "some went to the one that is stopped"
    os.kill(killed, signal.SIGKILL)
    answers = [client.getresponse() for client in clients]
    assert [answer.status for answer in answers] == [200] * len(clients)
    for client in clients:
        client.close()


def test_connections_avoid_a_worker_that_hangs(service: Service) -> None:
    stopped = service.workers()[0]
    os.kill(stopped, signal.SIGSTOP)
    try:
        time.sleep(2.5)
        started = time.monotonic()
        assert [label(service) for _ in range(6)] == ["tiger cat"] * 6
        assert time.monotonic() - started < WAIT_S / 2
    finally:
        os.kill(stopped, signal.SIGCONT)


def test_a_worker_that_hangs_is_killed_and_replaced(tmp_path: Path) -> None:
    run = "import runpy, api.supervisor as s; s.HANGS_S = 3; runpy.run_path('main.py', run_name='__main__')"
    process = subprocess.Popen(
        [sys.executable, "-c", run],
        cwd=ROOT,
        env={**os.environ, "API_PORT": "0", "API_WORKERS": "1", "API_CACHE_DIR": str(tmp_path)},
        stderr=subprocess.PIPE,
        text=True,
    )
    service = Service(process)
    try:
        service.wait_until_ready()
        [first] = service.workers()
        os.kill(first, signal.SIGSTOP)
        until(lambda: service.workers() not in ([], [first]))
        service.wait_until_ready()
        assert label(service) == "tiger cat"
    finally:
        service.terminate()


def test_a_model_that_crashes_takes_one_worker_with_it_and_is_quarantined(small: Service) -> None:
    assert ask(small, GREY, "?model=crashing").status_code == 200
    for _ in range(3):
        until(lambda: len(small.workers()) == 2)
        with pytest.raises(httpx.TransportError):
            ask(small, WHITE, "?model=crashing")
        assert ask(small, GREY).status_code == 200, "the other worker serves"
    until(lambda: any("quarantined" in line for line in small.log))
    until(lambda: len(small.workers()) == 2 and ask(small, GREY, "?model=crashing").status_code == 503)
    refused = ask(small, WHITE, "?model=crashing")
    assert refused.status_code == 503
    assert "quarantined: its runs have crashed 3 worker processes" in refused.json()["detail"]
    assert {ask(small, GREY).status_code for _ in range(6)} == {200}

    loaded = httpx.post(f"{small.base_url}/models/crashing/load", headers=KEY, timeout=WAIT_S)
    assert loaded.status_code == 200, loaded.text
    assert {ask(small, GREY, "?model=crashing").status_code for _ in range(6)} == {200}, "in both workers"


def test_what_an_operator_does_is_done_in_all_workers_when_it_is_answered(small: Service) -> None:
    for number in (1, 2, 1, 2, 1):
        done = httpx.put(f"{small.base_url}/models/colours/active", json={"version": number}, headers=KEY)
        assert done.status_code == 200, done.text
        assert {ask(small, GREY).json()["model"]["version"] for _ in range(8)} == {number}
    assert httpx.delete(f"{small.base_url}/models/colours/versions/2", headers=KEY).status_code == 204
    assert {ask(small, GREY, "?version=2").status_code for _ in range(6)} == {404}


def test_workers_end_when_their_supervisor_is_killed(tmp_path: Path) -> None:
    service = start_service(API_WORKERS="2", API_CACHE_DIR=str(tmp_path))
    service.wait_until_ready()
    workers = service.workers()
    service.kill()
    until(lambda: not any(_runs(pid) for pid in workers))


def _runs(pid: int) -> bool:
    try:
        return "State:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except FileNotFoundError:
        return False
