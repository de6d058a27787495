"""Draining under any server: readiness is 503, requests are served for API_DRAIN_SECONDS, all are answered."""

import os
import signal
import socket
import threading
import time
from pathlib import Path

import httpx
import pytest

from tests import plain_http
from tests.e2e.load import Load
from tests.e2e.nginx import nginx
from tests.e2e.services import RED, SERVERS, WAIT_S, own_models
from tests.process import start
from tests.server import until
from tests.tiny_models import add_model, colour_graph, slow_graph

DRAIN_S = 5.0
ENDED = {0, -signal.SIGTERM, -signal.SIGINT}


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """`colour`, the default, and `slow`, which takes tens of milliseconds."""
    models = tmp_path_factory.mktemp("models")
    add_model(models, "colour", colour_graph())
    add_model(models, "slow", slow_graph(40))
    return own_models(models)


@pytest.mark.parametrize("name", SERVERS)
def test_sigterm_turns_readiness_503_and_loses_no_request(name: str, settings: dict[str, str]) -> None:
    """Kept connections are closed: a client that pauses on one would lose its next request at the stop."""
    server = SERVERS[name]
    service = start({**settings, **server.settings, "API_DRAIN_SECONDS": str(DRAIN_S)}, server.with_port())
    try:
        service.wait_until_ready()
        until(lambda: len(service.workers()) == server.workers)
        with (
            Load(service.base_url, 4) as load,
            plain_http.Client(base_url=service.base_url, timeout=WAIT_S) as kept,
        ):
            assert kept.post("/infer", content=RED).headers.get("connection", "keep-alive") == "keep-alive"
            until(lambda: load.answers["red"] > 20)
            signalled = time.monotonic()
            os.kill(service.pid, signal.SIGTERM)
            until(lambda: kept.get("/health/ready").status_code == 503)
            assert kept.get("/health/live").status_code == 200
            until(lambda: kept.post("/infer", content=RED).headers.get("connection") == "close")
            seen = load.answers["red"]
            until(lambda: load.answers["red"] > seen + 20)
        assert set(load.answers) == {"red"}, load.answers
        assert service.wait_for_end() in ENDED
        assert time.monotonic() - signalled >= DRAIN_S
    finally:
        service.kill()
    assert not service.bugs()


# gunicorn stops at once at SIGINT, as its documentation says.
IN_FLIGHT = [(name, signal.SIGTERM) for name in SERVERS] + [("main", signal.SIGINT), ("uvicorn", signal.SIGINT)]


@pytest.mark.parametrize(("name", "number"), IN_FLIGHT)
def test_requests_in_flight_are_answered_before_the_end(
    settings: dict[str, str], name: str, number: signal.Signals
) -> None:
    server = SERVERS[name]
    service = start({**settings, **server.settings}, server.with_port())
    service.wait_until_ready()
    statuses: list[int] = []
    clients = [plain_http.Client(base_url=service.base_url, timeout=WAIT_S) for _ in range(4)]

    def send(client: httpx.Client) -> None:
        statuses.append(client.post("/infer?model=slow", content=RED).status_code)

    for client in clients:
        send(client)  # it is connected, and the model is loaded
    threads = [threading.Thread(target=send, args=(client,)) for client in clients]
    for thread in threads:
        thread.start()
    until(lambda: len(statuses) > len(clients))  # the first is answered, the others wait or run
    os.kill(service.pid, number)
    assert service.wait_for_end() in ENDED
    for thread, client in zip(threads, clients, strict=True):
        thread.join()
        client.close()
    assert statuses == [200] * 2 * len(clients)


def test_a_second_interrupt_ends_at_once(settings: dict[str, str]) -> None:
    service = start(settings)
    service.wait_until_ready()
    with socket.create_connection(("127.0.0.1", service.port)) as client:
        client.sendall(b"POST /infer HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 100\r\n\r\n")
        assert client.recv(1024).startswith(b"HTTP/1.1 100 "), "it reads the body"
        os.kill(service.pid, signal.SIGINT)
        until(lambda: "Waiting for connections to close" in service.log_text)
        os.kill(service.pid, signal.SIGINT)
        service.wait_for_end()


def test_a_rolling_restart_behind_nginx_loses_nothing(settings: dict[str, str], tmp_path: Path) -> None:
    settings = {**settings, "API_DRAIN_SECONDS": "1"}
    services = [start(settings) for _ in range(2)]
    for service in services:
        service.wait_until_ready()
    with nginx([service.port for service in services], tmp_path) as url, Load(url, 8) as load:
        for index, service in enumerate(services):
            seen = load.answers["red"]
            until(lambda seen=seen: load.answers["red"] > seen + 100)  # type: ignore[misc]  # a lambda with a default
            service.terminate()
            services[index] = start({**settings, "API_PORT": str(service.port)})
            services[index].wait_until_ready()
    for service in services:
        service.terminate()
    assert set(load.answers) == {"red"}, load.answers
