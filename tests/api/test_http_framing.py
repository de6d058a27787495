"""Requests as no library sends them: refused in our one shape, after the answers before them, and without a reset."""

import json
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from api.settings import ApiSettings
from tests.pictures_by_colour import colour_picture
from tests.raw_http import chunked, connected, post, read_answer, read_to_end, talk
from tests.server import Server, serving

LIVE = b"GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n"
GOODBYE = b"GET /health/live HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
COLOURS = ["red", "green", "blue"]
PICTURES = [colour_picture(colour.replace("green", "lime")) for colour in COLOURS]


@pytest.fixture(scope="module")
def port(tiny_models: Path) -> Iterator[int]:
    settings = ApiSettings(_env_file=None, models_dir=tiny_models, default_model="colour", max_upload_bytes=1_000_000)
    with serving(settings) as running:
        yield running.port


def label(body: bytes) -> str:
    return str(json.loads(body)["predictions"][0]["label"])


def form(pictures: int, name: str = "images") -> bytes:
    part = b'--b\r\nContent-Disposition: form-data; name="%s"; filename="a"\r\n\r\n%s\r\n' % (
        name.encode(),
        PICTURES[0],
    )
    return part * pictures + b"--b--\r\n"


def batch(pictures: int, version: str = "1.1") -> bytes:
    return post(
        form(pictures),
        "/infer/batch?stream=true&top_k=1",
        "Content-Type: multipart/form-data; boundary=b\r\n",
        version=version,
    )


AMBIGUOUS = {
    "length and chunks": "Content-Length: 3\r\nTransfer-Encoding: chunked",
    "chunks and length": "Transfer-Encoding: chunked\r\nContent-Length: 3",
    "two lengths": "Content-Length: 3\r\nContent-Length: 4",
    "one length twice": "Content-Length: 3\r\nContent-Length: 3",
    "a list of lengths": "Content-Length: 3, 3",
    "negative": "Content-Length: -3",
    "signed": "Content-Length: +3",
    "hexadecimal": "Content-Length: 0x3",
    "too large for a number": "Content-Length: 99999999999999999999999",
    "empty": "Content-Length: ",
    "another coding": "Transfer-Encoding: gzip, chunked",
    "chunked not last": "Transfer-Encoding: chunked, identity",
    "chunked twice": "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
    "chunked and identity": "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity",
    "identity": "Transfer-Encoding: identity",
    "nearly chunked": "Transfer-Encoding: xchunked",
    "space before the colon": "Transfer-Encoding : chunked",
    "vertical tab": "Transfer-Encoding: \x0bchunked",
    "NUL in a value": "X-A: a\x00b",
    "NUL in a name": "X-\x00A: b",
    "bare LF": "X-A: b\nX-B: c",
    "bare CR": "X-A: b\rX-B: c",
    "folded": "X-A: b\r\n c",
    "no colon": "nonsense",
}


@pytest.mark.parametrize("headers", AMBIGUOUS.values(), ids=AMBIGUOUS.keys())
def test_what_two_servers_could_read_in_two_ways_is_refused(port: int, headers: str) -> None:
    """Nothing behind it is taken for a request."""
    smuggled = f"POST /infer HTTP/1.1\r\nHost: x\r\n{headers}\r\n\r\n0\r\n\r\n".encode() + LIVE
    [answer] = talk(port, smuggled)
    assert (answer.status, answer.code, answer.closes) == (400, "malformed_request", True)


OTHER_PROTOCOLS = {
    "HTTP/0.9": b"GET /\r\n\r\n",
    "HTTP/0.9 by name": b"GET / HTTP/0.9\r\n\r\n",
    "HTTP/2 by number": b"GET / HTTP/2.0\r\nHost: x\r\n\r\n",
    "HTTP/2's preface": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00",
    "HTTP/1.2": b"GET / HTTP/1.2\r\nHost: x\r\n\r\n",
    "TLS": bytes.fromhex("16030100a5010000a10303") + bytes(160),
    "SSH": b"SSH-2.0-OpenSSH_9.2\r\n",
    "chunks in HTTP/1.0": b"POST /infer HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "a proxy's": b"CONNECT example.org:443 HTTP/1.1\r\nHost: x\r\n\r\n",
    "an unknown method": b"FOO / HTTP/1.1\r\nHost: x\r\n\r\n",
    "an address that is none": b"GET ?x HTTP/1.1\r\nHost: x\r\n\r\n",
    "bytes in the address": b"GET /\xff\xfe HTTP/1.1\r\nHost: x\r\n\r\n",
    "bare LF everywhere": b"GET / HTTP/1.1\nHost: x\n\n",
    "random bytes": bytes(range(256)),
}


@pytest.mark.parametrize("data", OTHER_PROTOCOLS.values(), ids=OTHER_PROTOCOLS.keys())
def test_other_protocols_are_told_so(port: int, data: bytes) -> None:
    [answer] = talk(port, data)
    assert (answer.status, answer.code, answer.closes) == (400, "malformed_request", True)


@pytest.mark.parametrize(
    ("target", "status"),
    [("http://elsewhere/health/live", 200), ("http://x", 307), ("*", 404), ("//health/live", 404), ("/%zz%ff%00", 404)],
)
def test_odd_targets_are_addresses_like_any(port: int, target: str, status: int) -> None:
    [answer] = talk(port, f"GET {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
    assert answer.status == status
    assert status != 404 or answer.code == "not_found"


@pytest.mark.parametrize("size", [70_000, 2_000_000])
@pytest.mark.parametrize(
    "start",
    [b"GET /", b"GET / HTTP/1.1\r\nX-A: ", b"\r\n", chunked()[:-2] + b"X-A: ", chunked()[:-5] + b"0;ext="],
    ids=["address", "header", "empty lines", "trailer", "chunk extension"],
)
def test_headers_and_trailers_have_a_bound(port: int, start: bytes, size: int) -> None:
    filler = b"\r\n" * size if start == b"\r\n" else b"x" * size
    [answer] = talk(port, start + filler)
    assert (answer.status, answer.code, answer.closes) == (431, "headers_too_large", True)


def test_headers_below_the_bound_are_read_in_any_pieces(port: int) -> None:
    request = b"GET /health/live HTTP/1.1\r\nHost: x\r\nX-A: " + b"x" * 60_000 + b"\r\nConnection: close\r\n\r\n"
    with connected(port) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for byte in request[:40] + request[-30:]:
            connection.sendall(bytes([byte]))
        [answer] = read_to_end(connection)
    assert answer.status == 200


@pytest.mark.parametrize("garbage", [b"garbage\r\n\r\n", b"\x00" * 100, b"GET / HTTP/1.1\r\nHost:\n\n"])
def test_answers_before_garbage_are_whole(port: int, garbage: bytes) -> None:
    requests = post(PICTURES[0]) + chunked(PICTURES[1][:30], PICTURES[1][30:]) + batch(5) + post(PICTURES[2])
    *answers, refusal = talk(port, requests + garbage)
    assert [answer.status for answer in answers] == [200] * 4
    assert [label(answer.body) for answer in (answers[0], answers[1], answers[3])] == COLOURS
    assert answers[2].body.count(b'"label":"red"') == answers[2].body.count(b"\n") == 5
    assert (refusal.status, refusal.code, refusal.closes) == (400, "malformed_request", True)


def test_a_body_that_breaks_its_framing_is_one_400_behind_the_answers_before(port: int) -> None:
    for before in (b"", LIVE, chunked(PICTURES[0])):
        *answers, refusal = talk(port, before + chunked(PICTURES[0])[:-5] + b"nonsense\r\n" + LIVE)
        assert [answer.status for answer in answers] == [200] * bool(before)
        assert (refusal.status, refusal.code) == (400, "malformed_request")


def test_pipelined_requests_are_answered_in_their_order_each_about_its_own_picture(port: int) -> None:
    """Also those behind chunked ones, and whatever is offered along with them."""
    kinds: list[Callable[[bytes], bytes]] = [
        post,
        lambda picture: chunked(picture[:20], picture[20:]),
        lambda picture: post(picture, headers="Connection: Upgrade\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n"),
        lambda picture: post(picture, headers="Connection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n"),
        lambda picture: post(picture, headers="Expect: 100-continue\r\n"),
    ]
    requests = b"".join(kinds[n % 4 if n % 3 else 4](PICTURES[n % 7 % 3]) for n in range(200))
    *answers, last = talk(port, requests + GOODBYE)
    assert [label(answer.body) for answer in answers] == [COLOURS[n % 7 % 3] for n in range(200)]
    assert last.closes


def test_requests_behind_trailers_are_answered_in_their_order_but_offer_nothing(port: int) -> None:
    """They are parsed with the trailers; where one of them began the parser does not tell."""
    with_trailer = chunked(PICTURES[0])[:-2] + b"X-A: b\r\n\r\n"
    answers = talk(port, with_trailer + post(PICTURES[1]) + with_trailer + chunked(PICTURES[2]) + GOODBYE)
    assert [label(answer.body) for answer in answers[:-1]] == ["red", "green", "red", "blue"]
    upgrade = post(PICTURES[1], headers="Connection: Upgrade\r\nUpgrade: h2c\r\n")
    for behind in (upgrade, b"garbage\r\n\r\n"):
        answer, refusal = talk(port, with_trailer + behind + GOODBYE)
        assert (answer.status, refusal.code) == (200, "malformed_request")


def test_trailers_are_no_headers_and_extensions_mean_nothing(port: int) -> None:
    body = b"%x;a=b;c\r\n%s\r\n0\r\nContent-Encoding: gzip\r\nX-Request-ID: mine\r\n\r\n" % (
        len(PICTURES[0]),
        PICTURES[0],
    )
    answer, _ = talk(port, chunked()[: -len(b"0\r\n\r\n")] + body + GOODBYE)
    assert (answer.status, label(answer.body)) == (200, "red")
    assert b"x-request-id: mine" not in answer.head


def test_a_hundred_thousand_chunks_of_a_byte(port: int) -> None:
    head, end, data = chunked()[:-5], b"0\r\n\r\n", b"x" * 100_000
    [answer, _] = talk(port, head + b"".join(b"1\r\n%c\r\n" % byte for byte in data) + end + GOODBYE)
    assert (answer.status, answer.code) == (400, "undecodable_image")


def test_http_1_0_gets_no_chunks(port: int) -> None:
    [answer] = talk(port, batch(5, version="1.0"))
    assert b"transfer-encoding" not in answer.head
    assert answer.closes
    assert answer.body.count(b'"label":"red"') == answer.body.count(b"\n") == 5
    [answer] = talk(port, b"GET /health/live HTTP/1.0\r\n\r\n")
    assert (answer.status, answer.closes) == (200, True)


@pytest.mark.parametrize("expect", ["", "Expect: 100-continue\r\n"])
def test_a_huge_body_is_refused_at_once_and_the_answer_arrives_though_all_is_sent(port: int, expect: str) -> None:
    size = 30_000_000
    with connected(port) as connection:
        connection.sendall(f"POST /infer HTTP/1.1\r\nHost: x\r\n{expect}Content-Length: {size}\r\n\r\n".encode())
        answer = read_answer(connection)
        assert (answer.status, answer.code, answer.closes) == (413, "too_many_bytes", True)
        connection.sendall(bytes(size))
        assert connection.recv(1) == b""


def test_an_early_error_after_100_continue_reaches_a_client_that_sends_on(port: int) -> None:
    """The form is found wrong when its body has begun."""
    body = form(1, "other") + bytes(900_000)
    head = f"Expect: 100-continue\r\nContent-Type: multipart/form-data; boundary=b\r\nContent-Length: {len(body)}\r\n"
    with connected(port) as connection:
        connection.sendall(f"POST /infer HTTP/1.1\r\nHost: x\r\n{head}\r\n".encode())
        assert connection.recv(1000) == b"HTTP/1.1 100 Continue\r\n\r\n"
        connection.sendall(body)
        [answer] = read_to_end(connection)
    assert (answer.status, answer.code) == (422, "unknown_field")


def test_after_an_error_with_a_small_body_the_connection_goes_on(port: int) -> None:
    with connected(port) as connection:
        for _ in range(2):
            connection.sendall(post(b"x" * 1000, "/nope")[:-500])
            connection.sendall(b"x" * 500)
            answer = read_answer(connection)
            assert (answer.status, answer.closes) == (404, False)


def test_what_is_shorter_than_announced_is_no_answer_and_no_error(
    server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    with connected(server.port) as connection:
        connection.sendall(post(PICTURES[0])[:-1])
        connection.shutdown(socket.SHUT_WR)
        assert read_to_end(connection) == []
    assert not [record for record in caplog.records if record.name.startswith("uvicorn")]
