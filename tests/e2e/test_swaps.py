"""100 swaps of a real model under full load: no request fails, none is answered by half a model, memory stays."""

import random
import shutil
from collections.abc import Iterator
from pathlib import Path

import httpx
import onnx
import pytest

from tests import plain_http
from tests.e2e.load import Load
from tests.e2e.services import CAT, KEY, service_under
from tests.paths import ROOT
from tests.process import Service
from tests.server import until

MODEL = ROOT / "models" / "efficientnet-lite0"
SWAPS, WARM_UP_SWAPS, CLIENTS = 100, 20, 8
MEMORY_GROWTH = 1.10


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    """The default model in two versions that differ in their labels: `one ...` and `two ...`."""
    models = tmp_path / "models"
    labels = (MODEL / "labels.txt").read_text().splitlines()
    for number, word in ((1, "one"), (2, "two")):
        folder = models / "m" / str(number)
        shutil.copytree(MODEL / "1", folder)
        shutil.copy(MODEL / "model.toml", folder)
        (folder / "labels.txt").write_text("".join(f"{word} {label}\n" for label in labels))
    with service_under(models=models, API_DEFAULT_MODEL="m") as running:
        yield running


def _judge(response: httpx.Response) -> str:
    """The version that answered, or what is wrong with the answer."""
    if response.status_code != 200:
        return f"{response.status_code}: {response.text}"
    answer = response.json()
    expected = f"{('one', 'two')[answer['model']['version'] - 1]} tiger cat"
    found = answer["predictions"][0]["label"]
    return f"version {answer['model']['version']}" if found == expected else f"{found} instead of {expected}"


def wait_until_one_is_loaded(boss: httpx.Client) -> None:
    """The watcher removes the version before from memory."""
    until(lambda: [one["state"] for one in boss.get("/models/m").json()["versions"]].count("READY") == 1)


def test_100_swaps_under_load_lose_no_request_and_keep_no_memory(service: Service) -> None:
    with (
        plain_http.Client(base_url=service.base_url, headers=KEY, timeout=60) as boss,
        Load(service.base_url, CLIENTS, CAT, _judge) as load,
    ):
        before = 0.0
        for swap in range(SWAPS + WARM_UP_SWAPS):
            if swap == WARM_UP_SWAPS:
                wait_until_one_is_loaded(boss)
                before = service.rss_mb()
            version = swap % 2 + 1
            report = boss.put("/models/m/active", json={"version": version}).json()
            assert report["serving"] == version
            if random.random() < 0.1:
                assert boss.get("/health/ready").status_code == 200
        wait_until_one_is_loaded(boss)
        until(lambda: service.rss_mb() <= before * MEMORY_GROWTH)
    assert set(load.answers) == {"version 1", "version 2"}
    assert min(load.answers.values()) >= CLIENTS


def test_weights_beside_the_graph_may_be_overwritten_while_the_model_serves(tmp_path: Path) -> None:
    """The runtime maps such files, and a mapped file that shrinks kills the process (SIGBUS)."""
    models = tmp_path / "models"
    folder = models / "m" / "1"
    folder.mkdir(parents=True)
    shutil.copy(MODEL / "model.toml", folder.parent)
    shutil.copy(MODEL / "labels.txt", folder.parent)
    graph = onnx.load(str(MODEL / "1" / "model.onnx"))
    onnx.save(
        graph, str(folder / "model.onnx"), save_as_external_data=True, location="weights.bin", size_threshold=1024
    )
    weights = folder / "weights.bin"
    whole = weights.read_bytes()
    with (
        service_under(models=models, API_DEFAULT_MODEL="m") as service,
        plain_http.Client(base_url=service.base_url, timeout=60) as client,
    ):
        since = client.get("/models").json()["models"][0]["versions"][0]["since"]
        weights.write_bytes(b"")
        for _ in range(40):
            assert client.post("/infer", content=CAT).json()["predictions"][0]["label"] == "tiger cat"
        weights.write_bytes(whole)
        until(lambda: client.get("/models").json()["models"][0]["versions"][0]["since"] != since)
        assert client.post("/infer", content=CAT).json()["predictions"][0]["label"] == "tiger cat"
