"""Several workers under a process manager: one that dies is replaced, and all follow what operators change."""

import os
import re
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import httpx
import pytest

from tests import plain_http
from tests.crashing_model import crashing_graph
from tests.e2e.load import Load
from tests.e2e.services import CAT, KEY, RED, SERVERS, WAIT_S, admin, eventually, infer, label, own_models
from tests.process import Service, running, running_service
from tests.server import until
from tests.tiny_models import add_model, colour_graph, solid_png

FOLLOWS_S = 10.0  # 2 s where the processes have cores to run on
GREY, WHITE = solid_png("grey"), solid_png("white")
GRAPH = bytes(colour_graph(gain=3).SerializeToString())
SENT = 30


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`colour` in two versions; `crashing` crashes its process on a white picture."""
    folder = tmp_path_factory.mktemp("models")
    for version in (1, 2):
        add_model(folder, "colour", colour_graph(gain=version), version=version)
    add_model(folder, "crashing", crashing_graph())
    return folder


@pytest.fixture(scope="module", params=[name for name, server in SERVERS.items() if server.workers > 1])
def service(
    request: pytest.FixtureRequest, models: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Service]:
    """Two workers. A server other than `python main.py` takes PROMETHEUS_MULTIPROC_DIR."""
    server = SERVERS[request.param]
    counted = {} if server.settings else {"PROMETHEUS_MULTIPROC_DIR": str(tmp_path_factory.mktemp("metrics"))}
    with running(own_models(models) | server.settings | counted, server.with_port()) as started:
        until(lambda: len(started.workers()) == server.workers)
        yield started


def replaced(service: Service, pid: int) -> bool:
    workers = service.workers()
    return pid not in workers and len(workers) == 2


def test_a_killed_worker_is_replaced_while_the_other_serves(service: Service) -> None:
    killed = service.workers()[0]
    with Load(service.base_url, 8) as load:
        until(lambda: load.answers["red"] > 50)
        os.kill(killed, signal.SIGKILL)
        until(lambda: replaced(service, killed))
        seen = load.answers["red"]
        until(lambda: load.answers["red"] > seen + 50)
    lost = load.answers.total() - load.answers["red"]
    assert lost <= 8, load.answers  # at most the requests of the connections that the killed worker had


def test_a_model_that_crashes_costs_one_worker_and_no_other_request(service: Service) -> None:
    assert infer(service, GREY, "?model=crashing").status_code == 200
    before = set(service.workers())
    with suppress(httpx.TransportError):
        infer(service, WHITE, "?model=crashing")
    assert label(service) == "red"
    until(lambda: len(service.workers()) == 2 and set(service.workers()) != before)
    assert label(service) == "red"


def test_every_worker_follows_a_change_within_seconds(service: Service) -> None:
    with admin(service) as boss:
        for number in (1, 2, 1):
            done = boss.put("/models/colour/active", json={"version": number})
            assert done.status_code == 200, done.text
            followed(lambda: {infer(service).json()["model"]["version"] for _ in range(12)} == {number})  # noqa: B023 - called at once
        assert boss.post("/models/colour/versions", content=GRAPH).json()["version"] == 3
        followed(lambda: {infer(service, query="?version=3").status_code for _ in range(12)} == {200})
        assert boss.delete("/models/colour/versions/3").status_code == 204
        followed(lambda: {infer(service, query="?version=3").status_code for _ in range(12)} == {404})


def test_counters_are_those_of_all_workers_and_never_go_back(service: Service) -> None:
    """They include those of workers that have ended."""
    before = pictures(service.base_url)
    for _ in range(SENT):
        assert infer(service).status_code == 200
    assert {pictures(service.base_url) for _ in range(12)} == {before + SENT}
    killed = service.workers()[0]
    os.kill(killed, signal.SIGKILL)
    until(lambda: replaced(service, killed))
    until(service.is_ready)
    assert {pictures(service.base_url) for _ in range(12)} == {before + SENT}


def pictures(base_url: str) -> float:
    """Counted for the model `colour`; each call may be answered by another worker."""
    text = plain_http.get(f"{base_url}/metrics", timeout=WAIT_S).text
    counted = re.findall(r'^fovea_pictures_total\{[^}]*"colour"[^}]*\} (\S+)$', text, re.MULTILINE)
    return sum(map(float, counted))


def followed(by_all: Callable[[], bool]) -> None:
    started = time.monotonic()
    until(by_all)
    assert time.monotonic() - started < FOLLOWS_S


def test_a_lone_request_and_many_are_answered_by_workers_that_share_the_cores(tmp_path: Path) -> None:
    """What pays is measured once: two workers that start at the same time agree on it."""
    with running_service(
        API_WORKERS="2",
        API_CACHE_DIR=str(tmp_path),
        API_MODEL_LOADER="onnxruntime",
        API_INTRA_OP_THREADS="",
        API_MAX_BATCH="",
    ) as service:
        until(lambda: len(service.workers()) == 2)
        assert label(service, CAT) == "tiger cat"
        with Load(service.base_url, 8, CAT) as load:
            until(lambda: load.answers["tiger cat"] > 40)
        assert set(load.answers) == {"tiger cat"}

        def plans() -> set[str]:
            url = f"{service.base_url}/models/efficientnet-lite0"
            return {str(plain_http.get(url, timeout=WAIT_S).json()["tuning"]["plan"]) for _ in range(8)}

        eventually(lambda: len(plans()) == 1)


def test_requests_with_a_key_reach_every_worker(models: Path) -> None:
    settings = own_models(models) | {"API_WORKERS": "2", "API_KEYS": "secret"}
    with running(settings) as service:
        until(lambda: len(service.workers()) == 2)
        for headers, status in (({}, 401), ({"X-API-Key": "secret"}, 200), (KEY, 200)):
            url = f"{service.base_url}/infer"
            found = {plain_http.post(url, content=RED, headers=headers, timeout=WAIT_S).status_code for _ in range(6)}
            assert found == {status}
