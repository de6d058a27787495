"""An answer that needs no body does not wait for it, and what is still to come of a short one is skipped."""

import contextlib
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from api.settings import ApiSettings
from tests.raw_http import connected, post, read_answer, read_to_end
from tests.server import serving
from tests.tiny_models import add_model, colour_graph, solid_png

HEADERS_S = 0.5
SKIPPED = 64 * 1024
PICTURE = solid_png("red")


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    models: Path = tmp_path_factory.mktemp("models")
    add_model(models, "colour", colour_graph())
    settings = ApiSettings(
        _env_file=None, models_dir=models, default_model="colour", tune="off", header_timeout_s=HEADERS_S
    )
    with serving(settings) as running:
        yield running.port


def nowhere(size: int, headers: str = "") -> bytes:
    """The head of a request whose answer is 404, and one byte of its body."""
    return f"POST /nowhere HTTP/1.1\r\nHost: x\r\n{headers}Content-Length: {size}\r\n\r\nx".encode()


def test_the_answer_comes_before_the_body_and_the_next_request_right_behind_it(port: int) -> None:
    with connected(port) as connection:
        for size in (2, 1000, SKIPPED):
            connection.sendall(nowhere(size))
            answer = read_answer(connection)
            assert (answer.status, answer.closes) == (404, False)
            connection.sendall(bytes(size - 1) + post(PICTURE))
            assert read_answer(connection).status == 200
        time.sleep(1.5 * HEADERS_S)  # whatever was timed, it is over: this is an idle connection like any
        connection.sendall(post(PICTURE))
        assert read_answer(connection).status == 200


def test_the_rest_may_come_in_pieces_and_the_connection_rests_behind_it(port: int) -> None:
    with connected(port) as connection:
        connection.sendall(nowhere(4))
        assert read_answer(connection).status == 404
        for _ in range(3):
            time.sleep(0.1)
            connection.sendall(b"x")
        time.sleep(1.5 * HEADERS_S)
        connection.sendall(post(PICTURE))
        assert read_answer(connection).status == 200


def test_a_rest_that_trickles_has_the_time_of_headers(port: int) -> None:
    with connected(port) as connection:
        connection.sendall(nowhere(1000))
        assert read_answer(connection).status == 404
        sent = 0
        with contextlib.suppress(ConnectionError):
            for _ in range(200):
                connection.sendall(b"x")
                sent += 1
                time.sleep(HEADERS_S / 10)
    assert 5 < sent < 100


@pytest.mark.parametrize(
    "request_head",
    [
        nowhere(SKIPPED + 2),
        nowhere(10, "Expect: 100-continue\r\n")[:-1],
        b"POST /nowhere HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n",
    ],
    ids=["long", "waits for our word", "without a length"],
)
def test_any_other_rest_ends_the_connection(port: int, request_head: bytes) -> None:
    with connected(port) as connection:
        connection.sendall(request_head)
        [answer] = read_to_end(connection)
    assert (answer.status, answer.closes) == (404, True)


def test_who_was_too_slow_is_not_waited_for_once_more(tmp_path: Path) -> None:
    add_model(tmp_path, "colour", colour_graph())
    settings = ApiSettings(_env_file=None, models_dir=tmp_path, default_model="colour", tune="off", body_timeout_s=0.1)
    with serving(settings) as running, connected(running.port) as connection:
        connection.sendall(post(PICTURE)[:-1])
        [answer] = read_to_end(connection)
    assert (answer.status, answer.code, answer.closes) == (408, "body_too_slow", True)
