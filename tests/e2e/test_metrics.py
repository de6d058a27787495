"""GET /metrics of any worker adds up the counts of all workers, also of killed ones."""

import os
import re
import signal
from pathlib import Path

import httpx

from tests.pictures_by_colour import colour_picture
from tests.process import running_service
from tests.server import until
from tests.tiny_models import add_model, colour_graph

REQUESTS = 30
ASKED = 12


def value(url: str, pattern: str) -> float:
    """Scrapes over a new connection, which goes to the worker with the fewest."""
    found = re.findall(rf"^{pattern} (\S+)$", httpx.get(f"{url}/metrics").text, re.MULTILINE)
    return sum(float(number) for number in found)


def test_counters_are_those_of_all_workers_and_never_go_back(tmp_path: Path) -> None:
    add_model(tmp_path, "colour", colour_graph())
    pictures, workers = r'fovea_pictures_total\{model="colour",version="1"\}', "fovea_workers"
    with running_service(API_MODELS_DIR=str(tmp_path), API_DEFAULT_MODEL="colour", API_WORKERS="2") as service:
        url = service.base_url
        until(lambda: value(url, workers) == 2)
        keeps = [httpx.Client(base_url=url) for _ in range(4)]  # so that both workers have some
        for number in range(REQUESTS):
            assert keeps[number % 4].post("/infer", content=colour_picture("red")).status_code == 200
        assert {value(url, pictures) for _ in range(ASKED)} == {REQUESTS}
        states = r'fovea_model_workers\{model="colour",state="ready",version="1"\}'
        until(lambda: value(url, states) == 2)
        children = Path(f"/proc/{service.pid}/task/{service.pid}/children").read_text().split()
        os.kill(int(children[0]), signal.SIGKILL)
        until(lambda: value(url, workers) == 1)
        assert value(url, pictures) == REQUESTS
        until(lambda: value(url, workers) == 2)
        assert {value(url, pictures) for _ in range(ASKED)} == {REQUESTS}
        for client in keeps:
            client.close()
