"""Four services on one models folder agree on what is active after every change, although some are killed."""

import random
import shutil
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest

from tests import plain_http
from tests.e2e.services import KEY, WAIT_S
from tests.process import Service, start_service
from tests.tiny_models import add_model, colour_graph

PROCESSES, CHANGES = 4, 12
AGREE_WITHIN_S = 10.0  # 2 s where the processes have cores to run on


@pytest.fixture
def models(tmp_path: Path) -> Path:
    for version in (1, 2, 3):
        add_model(tmp_path / "models", "m", colour_graph(gain=version), version=version)
    add_model(tmp_path / "models", "other", colour_graph())
    return tmp_path / "models"


class Fleet:
    """Services that share a models folder; a killed one is started again."""

    def __init__(self, models: Path, stack: ExitStack) -> None:
        self._environment = {
            "API_MODELS_DIR": str(models),
            "API_DEFAULT_MODEL": "m",
            "API_ADMIN_KEYS": "boss",
        }
        self._stack = stack
        self.services = [self.start() for _ in range(PROCESSES)]

    def start(self) -> Service:
        service = start_service(**self._environment)
        self._stack.callback(service.kill)
        return service

    def kill_one(self) -> None:
        victim = random.randrange(PROCESSES)
        self.services[victim].kill()
        self.services[victim] = self.start()

    def wait_until_ready(self) -> None:
        for service in self.services:
            service.wait_until_ready()

    def views(self) -> list[object]:
        return [_view(service) for service in self.services]


def _view(service: Service) -> object:
    answer = plain_http.get(f"{service.base_url}/models", timeout=WAIT_S).json()
    return answer["default"], [(m["name"], m["active"], m["serving"]) for m in answer["models"] if m["name"] == "m"]


@pytest.fixture
def fleet(models: Path) -> Iterator[Fleet]:
    with ExitStack() as stack:
        running = Fleet(models, stack)
        running.wait_until_ready()
        yield running


def test_four_services_agree_after_every_change(fleet: Fleet) -> None:
    random.seed(7)
    for change in range(CHANGES):
        version, default = random.choice((1, 2, 3)), random.choice(("m", "other"))
        operator = random.choice(fleet.services)
        with plain_http.Client(base_url=operator.base_url, headers=KEY, timeout=WAIT_S) as boss:
            assert boss.put("/models/m/active", json={"version": version}).status_code == 200
            assert boss.put("/models/default", json={"name": default}).status_code == 200
            assert boss.put("/models/default", json={"name": "m"}).status_code == 200
        changed = time.monotonic()
        expected = ("m", [("m", version, version)])
        while fleet.views() != [expected] * PROCESSES:
            assert time.monotonic() - changed < AGREE_WITHIN_S, (change, expected, fleet.views())
            time.sleep(0.02)
        if change % 2:
            fleet.kill_one()
            fleet.wait_until_ready()


def test_a_service_killed_during_a_change_leaves_a_readable_state(fleet: Fleet) -> None:
    random.seed(11)
    for _ in range(6):
        victim = fleet.services[0]
        with plain_http.Client(base_url=victim.base_url, headers=KEY, timeout=WAIT_S) as boss:
            boss.put("/models/m/active", json={"version": 1})
            victim.kill_after(random.random() * 0.02)
            try:
                while True:
                    boss.put("/models/m/active", json={"version": random.choice((1, 2, 3))})
            except httpx.HTTPError:
                pass
        fleet.services[0] = fleet.start()
        fleet.wait_until_ready()
        settled = time.monotonic()
        while len({str(view) for view in fleet.views()}) > 1:
            assert time.monotonic() - settled < AGREE_WITHIN_S, fleet.views()
            time.sleep(0.02)


def test_a_replaced_folder_is_followed(fleet: Fleet, models: Path) -> None:
    away = models.with_name("away")
    shutil.copytree(models, away)
    shutil.rmtree(away / "m" / "3")
    models.rename(models.with_name("old"))
    away.rename(models)
    deadline = time.monotonic() + 2 * AGREE_WITHIN_S
    expected = ("m", [("m", 2, 2)])
    while fleet.views() != [expected] * PROCESSES:
        assert time.monotonic() < deadline, fleet.views()
        time.sleep(0.05)
