"""Services with fewer rights, less room or less memory than they would like; each fault is a real one."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import httpx
import pytest

from tests.paths import ROOT
from tests.pictures_by_colour import colour_picture
from tests.process import Service
from tests.tiny_models import add_model, colour_graph

RED = colour_picture("red")
CAT = (ROOT / "tests" / "data" / "cat.jpg").read_bytes()
KEY = {"X-API-Key": "boss"}
WAIT_S = 30.0

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root: mounts, namespaces, groups of processes")


def make_models(folder: Path) -> Path:
    """`colour`, the default, and `other`."""
    for name in ("colour", "other"):
        add_model(folder, name, colour_graph())
    return folder


@contextmanager
def service_under(
    *prefix: str, models: Path | None, cache: Path, wait: bool = True, **settings: str
) -> Iterator[Service]:
    """`prefix`: a command that runs a command. `models` None: the repository's own. Ended by SIGTERM, with status 0."""
    own = {} if models is None else {"API_MODELS_DIR": str(models), "API_DEFAULT_MODEL": "colour"}
    fixed = {"API_PORT": "0", "API_TUNE": "off", "API_ADMIN_KEYS": "boss", "API_CACHE_DIR": str(cache)}
    command = [*prefix, sys.executable, "main.py"]
    environment = {**os.environ, **fixed, **own, **settings}
    service = Service(subprocess.Popen(command, cwd=ROOT, env=environment, stderr=subprocess.PIPE, text=True))
    try:
        if wait:
            service.wait_until_ready()
        yield service
    finally:
        service.terminate()


def operator(service: Service) -> httpx.Client:
    return httpx.Client(base_url=service.base_url, headers=KEY, timeout=WAIT_S)


def label(service: Service, picture: bytes = RED, query: str = "") -> str:
    """Of an answer, on a connection of its own so that any worker may give it."""
    response = httpx.post(f"{service.base_url}/infer{query}", content=picture, timeout=WAIT_S)
    assert response.status_code == 200, response.text
    return str(response.json()["predictions"][0]["label"])


def answers(service: Service, picture: bytes = RED, query: str = "") -> bool:
    return httpx.post(f"{service.base_url}/infer{query}", content=picture, timeout=WAIT_S).status_code == 200


def eventually(happens: Callable[[], object]) -> None:
    """What fails to connect has not happened yet."""
    end = time.monotonic() + WAIT_S
    while True:
        with suppress(httpx.TransportError):
            if happens():
                return
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.05)


def folder_trouble(service: Service) -> str:
    """What /health says about the models folder; it can infer all the same."""
    response = httpx.get(f"{service.base_url}/health")
    assert response.status_code == 200, response.text
    return str(response.json()["parts"]["models_folder"]["reason"] or "")


def lines(service: Service, words: str) -> list[str]:
    return [line for line in service.log if words in line]


@contextmanager
def small_disk(folder: Path, megabytes: int) -> Iterator[Path]:
    folder.mkdir(exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "none", folder], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)


def make_read_only(mounted: Path) -> None:
    subprocess.run(["mount", "-o", "remount,ro", mounted], check=True)


def fill(folder: Path) -> Path:
    """To the last byte; the file to delete for room."""
    filler = folder / ".filler"
    with suppress(OSError), filler.open("wb", buffering=0) as file:
        while file.write(b"x" * 4096):
            pass
    return filler


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
