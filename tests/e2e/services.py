"""Services for tests: under each server, with limits of rights, room or memory, and helpers to ask them."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest

from tests import plain_http
from tests.paths import ROOT
from tests.pictures_by_colour import colour_picture
from tests.process import MAIN, Service, running
from tests.server import until
from tests.tiny_models import add_model, colour_graph

RED = colour_picture("red")
CAT = (ROOT / "tests" / "data" / "cat.jpg").read_bytes()
KEY = {"X-API-Key": "boss"}
WAIT_S = 60.0
GUNICORN = "gunicorn"

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root: mounts, namespaces, cgroups")


@dataclass(frozen=True, slots=True)
class Server:
    """A way to start the application; `{port}` in the command is replaced by a free port."""

    command: Sequence[str]
    workers: int = 1
    settings: dict[str, str] = field(default_factory=dict)

    def with_port(self) -> list[str]:
        port = str(free_port())
        return [word.replace("{port}", port) for word in self.command]


def _tool(module: str, *arguments: str) -> tuple[str, ...]:
    return (sys.executable, "-m", module, *arguments)


_UVICORN = _tool("uvicorn", "main:app", "--port", "{port}")
_WORKER_CLASS = "uvicorn_worker.UvicornWorker"
_GUNICORN = _tool(GUNICORN, "main:app", "-k", _WORKER_CLASS, "--workers", "2", "--bind", "127.0.0.1:{port}")

SERVERS = {
    "main": Server(MAIN),
    "main, two workers": Server(MAIN, 2, {"API_WORKERS": "2"}),
    "uvicorn": Server(_UVICORN),
    "uvicorn, two workers": Server((*_UVICORN, "--workers", "2"), 2),
    GUNICORN: Server(_GUNICORN, 2),
}


def make_models(folder: Path) -> Path:
    """`colour`, the default, and `other`."""
    for name in ("colour", "other"):
        add_model(folder, name, colour_graph())
    return folder


def own_models(models: Path) -> dict[str, str]:
    """Settings for a folder that `make_models` made."""
    return {"API_MODELS_DIR": str(models), "API_DEFAULT_MODEL": "colour", "API_ADMIN_KEYS": "boss"}


def service_under(
    *prefix: str, models: Path | None, cache: Path | None = None, wait: bool = True, **settings: str
) -> AbstractContextManager[Service]:
    """A service, ready unless `wait` is False. `prefix`: a command that runs a command.

    `models`: a folder that `make_models` made; None: the repository's own. `cache`: None is the one that all share.
    """
    own = own_models(models) if models else {"API_ADMIN_KEYS": "boss"}
    own |= {"API_CACHE_DIR": str(cache)} if cache else {}
    return running(own | settings, (*prefix, *MAIN), wait=wait)


def admin(service: Service) -> httpx.Client:
    return plain_http.Client(base_url=service.base_url, headers=KEY, timeout=WAIT_S)


def infer(service: Service, picture: bytes = RED, query: str = "") -> httpx.Response:
    """On a connection of its own, so that any worker may answer."""
    return plain_http.post(f"{service.base_url}/infer{query}", content=picture, timeout=WAIT_S)


def label(service: Service, picture: bytes = RED, query: str = "") -> str:
    response = infer(service, picture, query)
    assert response.status_code == 200, response.text
    return str(response.json()["predictions"][0]["label"])


def answers(service: Service, picture: bytes = RED, query: str = "") -> bool:
    return infer(service, picture, query).status_code == 200


def eventually(happens: Callable[[], object]) -> None:
    """Waits until `happens` is true; a failed connection counts as false."""

    def happened() -> object:
        with suppress(httpx.TransportError):
            return happens()
        return False

    until(happened)


def versions(service: Service, name: str) -> list[dict[str, object]]:
    """The versions of a model as /models lists them."""
    models = plain_http.get(f"{service.base_url}/models", timeout=WAIT_S).json()["models"]
    return next((list(model["versions"]) for model in models if model["name"] == name), [])


def folder_reason(service: Service) -> str:
    """What /health reports about the models folder; empty if it is well. The service can infer all the same."""
    response = plain_http.get(f"{service.base_url}/health", timeout=WAIT_S)
    assert response.status_code == 200, response.text
    return str(response.json()["parts"]["models_folder"]["reason"] or "")


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
    """Fills a small disk to the last byte. Returns the file to delete for room."""
    filler = folder / ".filler"
    with suppress(OSError), filler.open("wb", buffering=0) as file:
        while file.write(b"x" * 4096):
            pass
    return filler


def cpu_share(pid: int, seconds: float = 1.5) -> float:
    """The cores that a process uses on average over the next `seconds`."""
    before = _cpu_s(pid)
    time.sleep(seconds)
    return (_cpu_s(pid) - before) / seconds


def _cpu_s(pid: int) -> float:
    """Seconds of CPU time that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
