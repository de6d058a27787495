"""How the service ends: it says so first, answers all it has, and a rolling restart behind a proxy loses nothing."""

import os
import shutil
import signal
import socket
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from tests.process import start_service
from tests.server import until
from tests.tiny_models import add_model, colour_graph, slow_graph, solid_png

RED = solid_png("red")
DRAIN_S = 2.0
WAIT_S = 30.0


@pytest.fixture
def models(tmp_path: Path) -> dict[str, str]:
    folder = tmp_path / "models"
    add_model(folder, "colours", colour_graph())
    add_model(folder, "slow", slow_graph(100))
    return {"API_MODELS_DIR": str(folder), "API_DEFAULT_MODEL": "colours", "API_CACHE_DIR": str(tmp_path / "cache")}


def test_it_is_not_ready_first_and_serves_until_it_ends(models: dict[str, str]) -> None:
    service = start_service(API_WORKERS="2", API_DRAIN_SECONDS=str(DRAIN_S), **models)
    service.wait_until_ready()
    with httpx.Client(base_url=service.base_url, timeout=WAIT_S) as kept:
        assert "connection" not in kept.post("/infer", content=RED).headers
        os.kill(service.pid, signal.SIGTERM)
        told = time.monotonic()
        until(lambda: httpx.get(f"{service.base_url}/health/ready").status_code == 503)
        ready = httpx.get(f"{service.base_url}/health/ready")
        assert "about to end" in ready.json()["detail"]
        assert httpx.get(f"{service.base_url}/health/live").status_code == 200
        answer = kept.post("/infer", content=RED)
        assert answer.status_code == 200, "the kept connection is answered once more"
        assert answer.headers["connection"] == "close"
        while time.monotonic() - told < DRAIN_S - 0.5:
            assert httpx.post(f"{service.base_url}/infer", content=RED).status_code == 200
    assert service.wait_for_end(WAIT_S) == 0
    assert time.monotonic() - told >= DRAIN_S
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"{service.base_url}/health/live")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_what_is_under_way_is_answered(models: dict[str, str], number: signal.Signals) -> None:
    service = start_service(API_WORKERS="1", **models)
    service.wait_until_ready()
    statuses: list[int] = []
    clients = [httpx.Client(base_url=service.base_url, timeout=WAIT_S) for _ in range(4)]

    def ask(client: httpx.Client) -> None:
        statuses.append(client.post("/infer?model=slow", content=RED).status_code)

    for client in clients:
        assert client.get("/health/live").status_code == 200  # it is connected
    ask(clients[0])  # the model is loaded
    threads = [threading.Thread(target=ask, args=(client,)) for client in clients]
    for thread in threads:
        thread.start()
    time.sleep(0.1)
    os.kill(service.pid, number)
    assert service.wait_for_end(WAIT_S) == 0
    for thread, client in zip(threads, clients, strict=True):
        thread.join()
        client.close()
    assert statuses == [200] * 5


def test_a_second_interrupt_ends_at_once(models: dict[str, str], tmp_path: Path) -> None:
    add_model(tmp_path / "models", "endless", slow_graph(1_000_000))
    service = start_service(API_WORKERS="1", API_LOAD="on-demand", API_CHECK_TIMEOUT_S="600", **models)
    service.wait_until_ready()
    with socket.create_connection(("127.0.0.1", httpx.URL(service.base_url).port or 0)) as client:
        client.sendall(b"POST /infer HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\n")
        time.sleep(0.3)
        os.kill(service.pid, signal.SIGINT)
        time.sleep(0.5)
        assert service.exit_code is None, "it waits for the request"
        os.kill(service.pid, signal.SIGINT)
        service.wait_for_end(5)


class Load:
    """Clients that ask through the proxy without a pause; what they were answered."""

    def __init__(self, url: str, clients: int) -> None:
        self.answers: Counter[str] = Counter()
        self._url = url
        self._ending = threading.Event()
        self._lock = threading.Lock()
        self._threads = [threading.Thread(target=self._ask) for _ in range(clients)]

    def __enter__(self) -> "Load":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ending.set()
        for thread in self._threads:
            thread.join()

    def _ask(self) -> None:
        with httpx.Client(base_url=self._url, timeout=WAIT_S) as client:
            while not self._ending.is_set():
                try:
                    answer = client.post("/infer", content=RED)
                    told = answer.json()["predictions"][0]["label"] if answer.is_success else str(answer.status_code)
                except httpx.TransportError as error:
                    told = type(error).__name__
                with self._lock:
                    self.answers[told] += 1


@contextmanager
def nginx(ports: list[int], folder: Path) -> Iterator[str]:
    """A proxy in front of those ports, with connections kept to each; its address."""
    program = shutil.which("nginx") or "/usr/sbin/nginx"
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        own = free.getsockname()[1]
    (folder / "nginx.conf").write_text(f"""
        daemon off; pid {folder}/nginx.pid; error_log {folder}/error.log; worker_processes 1;
        events {{ worker_connections 256; }}
        http {{
            access_log off; client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy;
            fastcgi_temp_path {folder}/f; uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;
            upstream fovea {{ {"".join(f"server 127.0.0.1:{port} max_fails=0;" for port in ports)} keepalive 16; }}
            server {{
                listen 127.0.0.1:{own};
                location / {{ proxy_pass http://fovea; proxy_http_version 1.1; proxy_set_header Connection ""; }}
            }}
        }}""")
    process = subprocess.Popen(
        [program, "-c", str(folder / "nginx.conf"), "-p", str(folder)], stderr=subprocess.DEVNULL
    )
    try:
        until(lambda: _listens(own))
        yield f"http://127.0.0.1:{own}"
    finally:
        process.terminate()
        process.wait()


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def test_a_rolling_restart_behind_a_proxy_loses_nothing(models: dict[str, str], tmp_path: Path) -> None:
    settings = {"API_WORKERS": "1", "API_DRAIN_SECONDS": "1", **models}
    services = [start_service(**settings) for _ in range(2)]
    for service in services:
        service.wait_until_ready()
    ports = [httpx.URL(service.base_url).port or 0 for service in services]
    with nginx(ports, tmp_path) as url, Load(url, 8) as load:
        for index, port in enumerate(ports):
            until(lambda: load.answers["red"] > 200)
            services[index].terminate()
            services[index] = start_service(**{**settings, "API_PORT": str(port)})
            services[index].wait_until_ready()
            time.sleep(1)
    for service in services:
        service.terminate()
    assert set(load.answers) == {"red"}, load.answers
