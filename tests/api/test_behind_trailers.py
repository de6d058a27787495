"""What is parsed together with a chunked request's trailers, before it is that request's turn."""

import contextlib
import gc
import socket
import time
from pathlib import Path

from api.http_protocol import BoundedHttpProtocol
from tests.conftest import Serve
from tests.raw_http import chunked, connected, read_answer, read_to_end, talk
from tests.server import Server
from tests.tiny_models import add_model, solid_png, stuck_on_red_graph

TRAILED = b"GET /health/live HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nT: x\r\n\r\n"
LIVE = b"GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n"
LAST = b"GET /health/live HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
# Of 1,024 bytes, so that each read ends inside of a body, however many come at once.
_AGAIN = b"POST /health/live HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n"
_END = b"0\r\nT: x\r\n\r\n"
_MANY = b"GET /health/live HTTP/1.1\r\nHost:x\r\n\r\n" * 20


def _block() -> bytes:
    room = 1024 - len(_END + _MANY + _AGAIN)
    size = room - 6  # of the chunk's framing: "xx\r\n" and "\r\n"
    return _END + _MANY + _AGAIN + b"%02x\r\n%s\r\n" % (size, bytes(size))


def test_no_more_is_parsed_than_came_with_the_trailers(serve: Serve, tmp_path: Path) -> None:
    """Memory could be filled with requests that are parsed and not begun, before any key is looked at."""
    add_model(tmp_path, "stuck", stuck_on_red_graph())
    port = serve(models_dir=tmp_path, default_model="stuck").port
    block, slow = _block(), chunked(solid_png("red"), headers="X-Request-Timeout-Ms: 1500\r\n")
    assert len(block) == 1024
    with connected(port) as connection:
        connection.settimeout(0.3)
        connection.sendall(slow[: -len(b"0\r\n\r\n")])
        with contextlib.suppress(TimeoutError):
            for _ in range(512):
                connection.sendall(block)
        time.sleep(0.2)
        assert 0 < _parsed() < 1000, "as many as one read may hold"


def _parsed() -> int:
    """Requests that wait parsed, of the connection with the most."""
    return max(len(found.pipeline) for found in gc.get_objects() if isinstance(found, BoundedHttpProtocol))


def test_behind_the_last_answer_nothing_is_run(server: Server) -> None:
    closing = TRAILED.replace(b"Host: x\r\n", b"Host: x\r\nConnection: close\r\n")
    [answer] = talk(server.port, closing + LIVE)
    assert (answer.status, answer.closes) == (200, True)


def test_garbage_is_told_what_is_wrong_with_it_and_not_with_the_request_before(serve: Serve) -> None:
    refused = b"PUT /models/default HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n"
    first, second = talk(serve().port, refused + b"GARBAGE\r\n\r\n")
    assert (first.status, first.code) == (403, "admin_closed")
    assert (second.status, second.code) == (400, "malformed_request")


def test_an_offer_in_headers_that_began_behind_trailers_loses_no_bytes(server: Server) -> None:
    upgrade = b"POST /health/live HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: h2c\r\nContent-Length: 5\r\n\r"
    with connected(server.port) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.sendall(TRAILED + upgrade)
        assert read_answer(connection).status == 200
        connection.sendall(b"\nHELLO" + LAST)
        told = [answer.status for answer in read_to_end(connection)]
    assert told in ([400], [405, 200]), "refused, or understood whole"
