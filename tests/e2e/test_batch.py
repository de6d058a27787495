"""Large batches: the memory they take, also when their clients leave, and single requests beside them."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import httpx

from tests import plain_http
from tests.paths import ROOT
from tests.pictures_by_colour import colour_picture
from tests.process import Service, running_service
from tests.raw_http import connected
from tests.server import until
from tests.tiny_models import add_model, slow_graph

CAT = ROOT / "tests" / "data" / "cat.jpg"
MIB = 2**20


def upload(picture: bytes, count: int) -> Iterator[bytes]:
    for _ in range(count):
        yield b'\r\n--b\r\nContent-Disposition: form-data; name="images"; filename="a"\r\n\r\n'
        yield picture
    yield b"\r\n--b--\r\n"


def send(service: Service, picture: bytes, count: int, query: str = "") -> httpx.Response:
    headers = {"Content-Type": "multipart/form-data; boundary=b"}
    content = upload(picture, count)
    return plain_http.post(f"{service.base_url}/infer/batch{query}", content=content, headers=headers, timeout=120)


def test_memory_holds_the_pictures_in_work_and_not_the_batch(tmp_path: Path) -> None:
    """Sixty pictures of 15 MiB arrive much faster than one worker thread processes them."""
    add_model(tmp_path, "slow", slow_graph(rounds=50))
    small = colour_picture("blue", image_format="BMP")
    picture = small + bytes(15 * MIB - len(small))
    with running_service(API_MODELS_DIR=str(tmp_path), API_DEFAULT_MODEL="slow", API_CONCURRENCY="1") as service:
        send(service, small, 4)
        before = service.rss_mb()
        most, done = before, threading.Event()

        def watch() -> None:
            nonlocal most
            while not done.wait(0.02):
                most = max(most, service.rss_mb())

        watcher = threading.Thread(target=watch)
        watcher.start()
        try:
            results = send(service, picture, 60).json()["results"]
        finally:
            done.set()
            watcher.join()
    assert [result["predictions"][0]["label"] for result in results] == ["blue"] * 60
    assert most - before < 150  # two in work, one queued, one arriving, and a copy of each


def test_memory_is_given_back_when_clients_of_batches_leave(tmp_path: Path) -> None:
    """Waves of batches of large pictures, each cut off in the middle."""
    add_model(tmp_path, "slow", slow_graph(rounds=50))
    picture = colour_picture("blue", image_format="BMP").ljust(15 * MIB, b"\0")
    body = b"".join(upload(picture, 4))[: 50 * MIB]
    head = "POST /infer/batch HTTP/1.1\r\nHost: x\r\nContent-Type: multipart/form-data; boundary=b\r\n"
    request = f"{head}Content-Length: {len(body) + 1}\r\n\r\n".encode() + body

    def leave(port: int) -> None:
        with connected(port, timeout=60) as connection, suppress(OSError):
            connection.sendall(request)

    with running_service(API_MODELS_DIR=str(tmp_path), API_DEFAULT_MODEL="slow") as service:

        def wave() -> None:
            with ThreadPoolExecutor(10) as clients:
                list(clients.map(leave, [service.port] * 10))
            until(lambda: service.is_ready() and send(service, picture, 1).status_code == 200)

        wave()
        first = service.rss_mb()
        for _ in range(3):
            wave()
        until(lambda: service.rss_mb() < 1.1 * first + 2 * 15)


def test_single_requests_are_answered_beside_many_batches() -> None:
    cat = CAT.read_bytes()
    with running_service() as service, ThreadPoolExecutor(6) as clients:
        batches = [clients.submit(send, service, cat, 64, "?stream=true") for _ in range(6)]
        answered = 0
        with plain_http.Client(base_url=service.base_url, timeout=60) as client:
            while not all(batch.done() for batch in batches):
                assert client.post("/infer", content=cat).status_code == 200
                answered += 1
        assert all(len(batch.result().text.splitlines()) == 64 for batch in batches)
    assert answered > 10
