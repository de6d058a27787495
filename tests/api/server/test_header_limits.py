"""Header deadline, header size and the number of connections under `python main.py`."""

import contextlib
import gc
import inspect
from collections.abc import Iterator
from pathlib import Path

import pytest
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from api.server import header_limits
from api.server.header_limits import MAX_HEADER_BYTES, HeaderLimitProtocol
from tests.raw_http import chunked, connected, post, read_answer, read_to_end, talk
from tests.server import Server, service_settings, serving, until

LIVE = b"GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n"

# What the subclass overrides, with uvicorn's parameters.
OVERRIDDEN = {
    "connection_made": ["self", "transport"],
    "connection_lost": ["self", "exc"],
    "data_received": ["self", "data"],
    "on_message_begin": ["self"],
    "on_headers_complete": ["self"],
    "on_body": ["self", "body"],
    "send_400_response": ["self", "msg"],
}


@pytest.fixture(scope="module")
def server(tiny_models: Path) -> Iterator[Server]:
    patch = pytest.MonkeyPatch()
    patch.setattr(header_limits, "HEADER_TIMEOUT_S", 0.5)
    with serving(service_settings(models_dir=tiny_models, default_model="colour")) as running:
        yield running
    patch.undo()


def test_uvicorn_has_what_the_protocol_overrides() -> None:
    own = {name for name, value in vars(HeaderLimitProtocol).items() if inspect.isfunction(value)}
    assert {name for name in own if hasattr(HttpToolsProtocol, name)} == set(OVERRIDDEN)
    for name, parameters in OVERRIDDEN.items():
        assert list(inspect.signature(getattr(HttpToolsProtocol, name)).parameters) == parameters


def test_headers_that_never_end_are_408(server: Server) -> None:
    [response] = talk(server.port, LIVE[:-5])
    assert (response.status, response.json()["code"], response.closes) == (408, "headers_too_slow", True)


def test_second_request_has_the_same_deadline(server: Server) -> None:
    first, second = talk(server.port, LIVE + LIVE[:-5])
    assert (first.status, second.status) == (200, 408)


def test_silent_connection_is_closed(server: Server) -> None:
    with connected(server.port) as connection:
        assert read_to_end(connection) == []


def test_idle_connection_outlives_the_header_deadline(server: Server) -> None:
    with connected(server.port) as idle:
        idle.sendall(LIVE)
        assert read_answer(idle).status == 200
        with connected(server.port) as silent:
            assert read_to_end(silent) == []  # the header deadline has passed
        idle.sendall(LIVE)
        assert read_answer(idle).status == 200


@pytest.mark.parametrize(
    "request_head",
    [
        b"GET /health/live HTTP/1.1\r\nX-A: " + b"a" * MAX_HEADER_BYTES,
        b"GET /health/live HTTP/1.1\r\n" + b"X-A: aaaaaaaaaa\r\n" * 10_000,
        b"GET /" + b"a" * (MAX_HEADER_BYTES + 1),
    ],
    ids=["one long header", "many headers", "a long URL"],
)
def test_large_headers_are_431(server: Server, request_head: bytes) -> None:
    with connected(server.port) as connection:
        connection.sendall(request_head + b"\r\n\r\n")
        response = read_answer(connection)
    assert (response.status, response.json()["code"], response.closes) == (431, "headers_too_large", True)


def test_headers_of_an_ordinary_size_are_accepted(server: Server) -> None:
    assert server.client.get("/health/live", headers={"X-A": "a" * 30_000}).status_code == 200


@pytest.mark.parametrize("data", [b"hello\r\n\r\n", b"GET / HTTP/1.1\r\nA\r\n\r\n", b"\x16\x03\x01\x02\x00\x01\x00"])
def test_malformed_http_is_400_as_a_problem(server: Server, data: bytes) -> None:
    [response] = talk(server.port, data)
    assert (response.status, response.json()["code"], response.closes) == (400, "malformed_request", True)


def test_malformed_http_is_logged_once(server: Server, caplog: pytest.LogCaptureFixture) -> None:
    talk(server.port, b"hello\r\n\r\n")
    assert len([record for record in caplog.records if record.levelname == "WARNING"]) == 1


def test_trailer_is_not_a_header(server: Server, red_png: bytes) -> None:
    """A trailer could otherwise carry a header that a proxy has removed."""
    request = chunked(red_png)
    with_trailer = request.removesuffix(b"\r\n") + b"X-Request-ID: forged\r\n\r\n"
    with connected(server.port) as connection:
        connection.sendall(with_trailer)
        response = read_answer(connection)
    assert response.status == 200
    assert response.json()["request_id"] != "forged"


def test_connections_above_the_limit_are_closed(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(header_limits, "max_connections", lambda: 0)
    with connected(server.port) as connection, contextlib.suppress(ConnectionError):
        connection.sendall(LIVE)
        assert read_to_end(connection) == []


def test_body_split_into_many_packets_arrives_whole(server: Server, red_png: bytes) -> None:
    data = post(red_png)
    with connected(server.port) as connection:
        for start in range(0, len(data), 50):
            connection.sendall(data[start : start + 50])
        assert read_answer(connection).json()["predictions"][0]["label"] == "red"


def test_request_that_offers_http2_keeps_its_body(server: Server, red_png: bytes) -> None:
    """As Java's HttpClient and `curl --http2` send it."""
    offer = "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQCAAAAAAIAAAAA\r\n"
    with connected(server.port) as connection:
        for _ in range(2):
            connection.sendall(post(red_png, headers=offer))
            assert read_answer(connection).json()["predictions"][0]["label"] == "red"


def test_endless_header_is_431_before_it_ends(server: Server) -> None:
    with connected(server.port) as connection, contextlib.suppress(ConnectionError):
        connection.sendall(b"GET /health/live HTTP/1.1\r\nX-A: ")
        for _ in range(200):
            connection.sendall(b"a" * 2**20)
        raise AssertionError("200 MB of one header were taken")


def test_malformed_chunk_is_400_at_once(server: Server) -> None:
    [response] = talk(server.port, chunked(b"abc")[:-5] + b"ZZ\r\n")
    assert (response.status, response.json()["code"]) == (400, "malformed_request")


@pytest.mark.slow
def test_client_that_reads_no_response_is_disconnected(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(header_limits, "SEND_TIMEOUT_MS", 200)
    with connected(server.port, receive_bytes=4096) as connection:
        connection.sendall(b"GET /openapi.json HTTP/1.1\r\nHost: x\r\n\r\n" * 200)
        until(lambda: connection.getsockname() in _clients())
        until(lambda: connection.getsockname() not in _clients())


def _clients() -> set[object]:
    """Addresses of the clients that are connected to any server of this process."""
    protocols = [thing for thing in gc.get_objects() if isinstance(thing, HeaderLimitProtocol)]
    return {protocol.client for protocol in protocols if protocol in protocol.connections}
