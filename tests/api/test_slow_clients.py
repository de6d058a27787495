"""Clients that take their time, that take nothing, and that leave: each in a bounded time, and at nobody's cost."""

import contextlib
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from api.settings import ApiSettings
from tests.raw_http import Answer, chunked, connected, parse, post, read_answer, read_to_end
from tests.server import Server, serving, until
from tests.tiny_models import add_model, colour_graph, slow_when_bright_graph, solid_png

LIVE = b"GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n"
FORM = "Content-Type: multipart/form-data; boundary=b\r\n"
WHITE = solid_png("white")
HEADERS_S, KEEP_ALIVE_S, SEND_S, BODY_S = 0.4, 0.4, 0.25, 0.3
PATIENT_S = 5.0


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    models = tmp_path_factory.mktemp("models")
    add_model(models, "colour", colour_graph())
    add_model(models, "slow", slow_when_bright_graph(rounds=30_000))
    settings = ApiSettings(
        _env_file=None,
        models_dir=models,
        cache_dir=models / "cache",
        default_model="colour",
        load="all",
        tune="off",
        lanes=1,
        queue_limit=0,
        admin_keys=("boss",),
        header_timeout_s=HEADERS_S,
        keep_alive_s=KEEP_ALIVE_S,
        send_timeout_s=SEND_S,
        body_timeout_s=BODY_S,
    )
    with serving(settings) as running:
        yield running


def trickle(port: int, start: bytes, every_s: float = 0.1) -> tuple[list[Answer], float]:
    """Sends that, then a byte now and then; the answers until the connection is closed, and how long it took."""
    with connected(port) as connection:
        connection.sendall(start)
        started = time.monotonic()
        connection.settimeout(every_s)
        received = b""
        while time.monotonic() - started < PATIENT_S:
            try:
                more = connection.recv(65_536)
            except TimeoutError:
                with contextlib.suppress(ConnectionError):
                    connection.sendall(b"x")
                continue
            if not more:
                break
            received += more
        return list(parse(received)), time.monotonic() - started


def part(name: str) -> bytes:
    return f'--b\r\nContent-Disposition: form-data; name="{name}"; filename="a"\r\n\r\n'.encode()


# Each announces more than comes.
BODIES = [
    post(bytes(900))[:-900],
    chunked(bytes(900))[:-907],
    post(part("image") + bytes(900), headers=FORM)[:-900],
    post(part("images") + bytes(900), "/infer/batch", FORM)[:-900],
    post(part("images") + bytes(900), "/infer/batch?stream=true", FORM)[:-900],
    post(bytes(900), "/models/default", "X-API-Key: boss\r\n").replace(b"POST", b"PUT")[:-900],
]
HEADERS = [b"GET /health/live HTTP/1.1\r\nX-A: ", LIVE + LIVE[:10]]


def silence(port: int) -> float:
    """Seconds until a connection on which nothing is sent is closed."""
    with connected(port) as connection:
        started = time.monotonic()
        assert connection.recv(1) == b""
        return time.monotonic() - started


def idleness(port: int) -> float:
    """The same from the last of several answers, whose pauses are longer together."""
    with connected(port) as connection:
        for _ in range(4):
            time.sleep(KEEP_ALIVE_S / 3)
            connection.sendall(LIVE)
            assert read_answer(connection).status == 200
        started = time.monotonic()
        assert connection.recv(1) == b""
        return time.monotonic() - started


def trickled_model(port: int) -> list[Answer]:
    """It trickles for longer than it may stall, and then stalls."""
    with connected(port) as connection:
        connection.sendall(post(bytes(900), "/models/new/versions", "X-API-Key: boss\r\n")[:-900])
        connection.settimeout(BODY_S / 5)
        started = time.monotonic()
        while time.monotonic() - started < BODY_S * 2:
            connection.sendall(b"x")
            with pytest.raises(TimeoutError):
                connection.recv(1)
        connection.settimeout(10)
        return read_to_end(connection)


def untaken(port: int, count: int) -> str:
    """How a connection ended whose client took nothing of so many answers."""
    with connected(port, receive_bytes=4096) as connection:
        connection.sendall(b"GET /openapi.json HTTP/1.1\r\nHost: x\r\n\r\n" * count)
        time.sleep(6 * SEND_S)
        try:
            read_to_end(connection)
        except ConnectionError:
            return "cut"
        return "served"


Waits = dict[str, Future[Any]]


@pytest.fixture(scope="module")
def waits(server: Server) -> Iterator[Waits]:
    """What takes nothing but time is all done at the same time."""
    port = server.port
    server.client.get("/openapi.json")  # the first one takes long to make, at the cost of those that are timed
    with ThreadPoolExecutor(20) as clients:
        yield {
            "silence": clients.submit(silence, port),
            "idleness": clients.submit(idleness, port),
            "model": clients.submit(trickled_model, port),
            "few": clients.submit(untaken, port, 3),
            "many": clients.submit(untaken, port, 300),
            **{f"header {n}": clients.submit(trickle, port, start) for n, start in enumerate(HEADERS)},
            **{f"body {n}": clients.submit(trickle, port, start) for n, start in enumerate(BODIES)},
        }


def test_headers_that_never_end_are_408(waits: Waits) -> None:
    [refusal], took_s = waits["header 0"].result()
    assert (refusal.status, refusal.code, refusal.closes) == (408, "headers_too_slow", True)
    assert HEADERS_S * 0.9 < took_s < PATIENT_S
    (answer, refusal), _ = waits["header 1"].result()
    assert (answer.status, refusal.code) == (200, "headers_too_slow")


def test_a_silent_connection_is_closed(waits: Waits) -> None:
    assert HEADERS_S * 0.9 < waits["silence"].result() < PATIENT_S


def test_an_idle_connection_is_closed_counted_from_its_last_answer(waits: Waits) -> None:
    assert KEEP_ALIVE_S * 0.9 < waits["idleness"].result() < PATIENT_S


@pytest.mark.parametrize("number", range(len(BODIES)))
def test_a_body_has_one_deadline_however_steadily_it_trickles(waits: Waits, number: int) -> None:
    [answer], took_s = waits[f"body {number}"].result()
    assert (answer.status, answer.code, answer.closes) == (408, "body_too_slow", True)
    assert BODY_S * 0.9 < took_s < PATIENT_S


def test_a_model_may_trickle_but_not_stall(waits: Waits) -> None:
    """A large file over a slow line: what counts is that something comes."""
    [answer] = waits["model"].result()
    assert (answer.status, answer.code) == (408, "body_too_slow")


@pytest.mark.parametrize("count", ["few", "many"])
def test_who_takes_nothing_of_its_answers_is_cut_off(waits: Waits, count: str) -> None:
    """Whether they wait in the kernel or here."""
    assert waits[count].result() == "cut"


def test_where_the_kernel_does_not_cut_them_off_we_do(tiny_models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As outside of Linux; what waits in the kernel alone stays there."""
    monkeypatch.delattr("socket.TCP_USER_TIMEOUT")
    settings = ApiSettings(
        _env_file=None, models_dir=tiny_models, default_model="colour", tune="off", send_timeout_s=SEND_S
    )
    with serving(settings) as running:
        assert untaken(running.port, 300) == "cut"


LEAVING = {
    "alone": b"",
    "with a request behind it": LIVE,
    "with half a request behind it": LIVE[:20],
    "with much behind it": post(bytes(50_000)),
}


@pytest.mark.parametrize("behind", LEAVING.values(), ids=LEAVING.keys())
@pytest.mark.parametrize("as_chunks", [False, True], ids=["whole", "chunked"])
def test_a_client_that_leaves_frees_the_lane(
    server: Server, behind: bytes, as_chunks: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """The only lane runs for half a minute if nobody stops it, and nobody may wait for it."""
    ask = chunked(WHITE, path="/infer?model=slow") if as_chunks else post(WHITE, "/infer?model=slow")
    until(lambda: _running(server) == 0)  # the last one's probe has been given up
    with connected(server.port) as connection:
        connection.sendall(ask + behind)
        until(lambda: _running(server) == 1)
        assert not _begins(server, ask)
    until(lambda: _begins(server, ask))
    until(lambda: 499 in {record.msg["status"] for record in caplog.records if isinstance(record.msg, dict)})
    assert not [record for record in caplog.records if record.name.startswith("uvicorn")]


def _running(server: Server) -> int:
    scheduler = server.api._running_engine().scheduler
    return scheduler.queues().get("slow", (0, 0))[1]


def _begins(server: Server, ask: bytes) -> bool:
    """Whether the lane takes such a request; it is given up at once."""
    with connected(server.port, timeout=0.1) as connection:
        connection.sendall(ask)
        try:
            assert read_answer(connection).code == "queue_full"
        except TimeoutError:
            return True
        return False
