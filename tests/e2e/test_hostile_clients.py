"""Attacks on a running service: each gets a clear answer, and costs neither memory nor other clients."""

import gzip
import json
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from pathlib import Path
from select import select

import pytest

from tests import plain_http
from tests.e2e.services import WAIT_S
from tests.pictures_by_colour import colour_picture
from tests.process import Service, running_service
from tests.raw_http import Answer, chunked, connected, parse, post, read_to_end, talk
from tests.server import until
from tests.tiny_models import add_model, colour_graph

COLOURS = ["red", "green", "blue"]
PICTURES = [colour_picture(colour.replace("green", "lime")) for colour in COLOURS]
MOST_BYTES = 1_000_000
MOST_GROWTH_MB = 80
FORM = "Content-Type: multipart/form-data; boundary=b\r\n"
GOODBYE = b"GET /health/live HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    models = tmp_path_factory.mktemp("models")
    add_model(models, "colour", colour_graph())
    with running_service(
        API_MODELS_DIR=str(models),
        API_DEFAULT_MODEL="colour",
        API_MAX_UPLOAD_BYTES=str(MOST_BYTES),
        API_BODY_TIMEOUT_S="5",
    ) as service:
        yield service


@pytest.fixture
def port(service: Service) -> Iterator[int]:
    """The service's port. Afterwards it must serve others, be as small as before, and have logged no bug."""
    found = service.port
    talk(found, post(PICTURES[0]) + GOODBYE)
    before = service.rss_mb()
    yield found
    answer, _ = talk(found, post(PICTURES[0]) + GOODBYE)
    assert answer.status == 200
    assert service.rss_mb() < before + MOST_GROWTH_MB
    assert not service.bugs(), service.log_text[-3000:]


def part(head: bytes, data: bytes = b"x") -> bytes:
    return b"--b\r\nContent-Disposition: form-data; " + head + b"\r\n\r\n" + data + b"\r\n"


END = b"--b--\r\n"
NESTED = b"\r\n".join([b"--c", b'Content-Disposition: file; filename="a"', b"", PICTURES[0], b"--c--"])
FORMS = {
    "thousands of other fields": (part(b'name="a"') * 10_000 + END, 422, "unknown_field"),
    "thousands of pictures": (part(b'name="image"') * 10_000 + END, 400, "no_picture"),
    "a giant part header": (
        part(b'name="image"; filename="' + b"x" * 500_000 + b'"') + END,
        400,
        "malformed_multipart",
    ),
    "many part headers": (part(b'name="image"\r\n' + b"X-A: b\r\n" * 50_000) + END, 400, "malformed_multipart"),
    "two dispositions": (
        part(b'name="image"\r\nContent-Disposition: form-data; name="a"') + END,
        400,
        "malformed_multipart",
    ),
    "no end": (part(b'name="image"', bytes(500_000)), 400, "malformed_multipart"),
    "only boundaries": (b"--b\r\n" * 100_000, 400, "malformed_multipart"),
    "nested": (
        part(b'name="image"\r\nContent-Type: multipart/mixed; boundary=c', NESTED) + END,
        400,
        "undecodable_image",
    ),
    "empty": (b"", 400, "malformed_multipart"),
}


@pytest.mark.parametrize(("form", "status", "code"), FORMS.values(), ids=FORMS.keys())
def test_malformed_forms_are_rejected(port: int, form: bytes, status: int, code: str) -> None:
    for request in (post(form, headers=FORM), chunked(*_pieces(form, 5000), headers=FORM)):
        answer = talk(port, request + GOODBYE)[0]
        assert (answer.status, answer.code) == (status, code)


def _pieces(data: bytes, size: int) -> list[bytes]:
    return [data[start : start + size] for start in range(0, len(data), size)]


@pytest.mark.parametrize("boundary", ["", '""', '"', "x" * 10_000, "\xff", "b;b", "b boundary=c"])
def test_strange_boundaries_are_400(port: int, boundary: str) -> None:
    head = f"POST /infer HTTP/1.1\r\nHost: x\r\nContent-Type: multipart/form-data; boundary={boundary}\r\n"
    body = part(b'name="image"') + END
    request = head.encode("latin-1") + b"Content-Length: %d\r\n\r\n" % len(body) + body
    answer = talk(port, request + GOODBYE)[0]
    assert answer.status == 400
    assert answer.code in ("malformed_multipart", "undecodable_image")


@pytest.mark.parametrize("encoding", ["gzip", "br", "deflate, gzip", "GZIP", "identity, gzip"])
def test_a_compressed_bomb_is_not_decompressed(port: int, encoding: str) -> None:
    bomb = gzip.compress(bytes(200_000_000), 1)[: MOST_BYTES // 2]
    answer = talk(port, post(bomb, headers=f"Content-Encoding: {encoding}\r\n") + GOODBYE)[0]
    assert (answer.status, answer.code) == (415, "unsupported_content_encoding")


@pytest.mark.parametrize("chunk", [b"1\r\nx\r\n" * 10_000, b"%x\r\n%s\r\n" % (60_000, bytes(60_000))])
@pytest.mark.parametrize("headers", ["", FORM], ids=["raw", "form"])
def test_a_body_that_never_ends_is_cut_at_the_limit(port: int, chunk: bytes, headers: str) -> None:
    start = b""
    if headers:
        begin = part(b'name="image"').removesuffix(b"x\r\n")
        start = b"%x\r\n%s\r\n" % (len(begin), begin)
    [answer] = flood(port, chunked(headers=headers)[: -len(b"0\r\n\r\n")] + start, chunk)
    assert (answer.status, answer.code, answer.closes) == (413, "too_many_bytes", True)


def test_headers_that_never_end_are_cut_at_the_limit(port: int) -> None:
    for start in (b"GET /", b"GET / HTTP/1.1\r\n", b"\r\n", chunked()[:-2]):
        found = flood(port, start, b"X-A: b\r\n" * 10_000 if start[-3:] != b"T /" else b"x" * 65_536)
        assert [answer.status for answer in found] in ([], [400], [408], [431])


def flood(port: int, start: bytes, again: bytes) -> list[Answer]:
    """Sends `start`, then `again` until an answer comes, and leaves. Returns the answers."""
    received = b""
    with connected(port) as connection, suppress(ConnectionError):
        connection.sendall(start)
        for _ in range(300_000_000 // len(again)):
            if select([connection], [], [], 0)[0]:
                with suppress(OSError):  # it has been reset
                    connection.shutdown(socket.SHUT_WR)
                break
            connection.sendall(again)
        while more := connection.recv(65_536):
            received += more
    return list(parse(received))


def test_a_thousand_pipelined_requests_are_answered_in_order(port: int) -> None:
    order = [n * n % 7 % 3 for n in range(1000)]
    requests = b"".join(post(PICTURES[n]) if n else chunked(PICTURES[n]) for n in order)
    with connected(port, timeout=60) as connection, ThreadPoolExecutor(1) as sender:
        sent = sender.submit(connection.sendall, requests + GOODBYE)
        received = b""
        while more := connection.recv(65_536):
            received += more
        sent.result()
    *answers, _ = parse(received)
    labels = [json.loads(answer.body)["predictions"][0]["label"] for answer in answers]
    assert labels == [COLOURS[n] for n in order]


def test_hundreds_of_slow_connections_delay_no_other_client_and_are_closed(port: int, service: Service) -> None:
    starts = [b"", b"GET /", b"GET / HTTP/1.1\r\nX-A: ", post(bytes(9))[:-9], post(bytes(9), headers=FORM)[:-9]]
    statuses: list[tuple[list[int], ...]] = [([], [400], [408])] * 3 + [([408],)] * 2
    with ExitStack() as stack:
        slow = []
        for n in range(500):
            connection = stack.enter_context(connected(port, timeout=60))
            connection.sendall(starts[n % len(starts)])
            slow.append(connection)
        waits = []
        for _ in range(50):
            started = time.monotonic()
            assert plain_http.post(f"{service.base_url}/infer", content=PICTURES[0], timeout=WAIT_S).status_code == 200
            waits.append(time.monotonic() - started)
        assert sorted(waits)[25] < 1
        for n, connection in enumerate(slow):
            assert [answer.status for answer in read_to_end(connection)] in statuses[n % 5], starts[n % 5]


def test_clients_that_read_nothing_cost_no_memory(port: int, service: Service) -> None:
    """Each has asked for a hundred megabytes."""
    asks = b"GET /openapi.json HTTP/1.1\r\nHost: x\r\n\r\n" * 1000
    before = service.rss_mb()
    with ExitStack() as stack:
        for _ in range(20):
            stack.enter_context(connected(port, receive_bytes=4096)).sendall(asks)
        time.sleep(2)
        assert service.rss_mb() < before + MOST_GROWTH_MB


def test_connections_that_are_reset_leave_no_descriptor(port: int, service: Service) -> None:
    for n in range(500):
        with socket.create_connection(("127.0.0.1", port)) as connection:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
            connection.sendall(post(PICTURES[0])[: n or None])
    until(lambda: len(_connections(service.pid, port)) <= 2)


def _connections(pid: int, port: int) -> list[str]:
    """The remote ends of the process's connections at that port."""
    inodes = set()
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(FileNotFoundError):  # it has been closed meanwhile
            link = str(entry.readlink())
            inodes.add(link.removeprefix("socket:[").removesuffix("]"))
    lines = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return [line[2] for line in lines if line[9] in inodes and line[1].endswith(f":{port:04X}")]
