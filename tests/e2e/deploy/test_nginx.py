"""deploy/nginx.conf in Debian's nginx, in front of a service."""

import json
import socket
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.e2e.nginx import check_conf, nginx, write_conf
from tests.e2e.services import RED, WAIT_S, own_models
from tests.pictures_by_colour import colour_picture
from tests.process import Service, running
from tests.raw_http import connected
from tests.tiny_models import add_model, colour_graph

PART = b'--b\r\nContent-Disposition: form-data; name="images"; filename="a"\r\n\r\n'
HEAD = (
    b"POST /vision/infer/batch?stream=true HTTP/1.1\r\nHost: a\r\n"
    b"Content-Type: multipart/form-data; boundary=b\r\nTransfer-Encoding: chunked\r\n\r\n"
)


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    folder = tmp_path_factory.mktemp("service")
    add_model(folder / "models", "colour", colour_graph())
    settings = own_models(folder / "models")
    with running(settings | {"API_TRUSTED_PROXIES": "127.0.0.1", "API_MAX_UPLOAD_BYTES": "1000000"}) as service:
        yield service


@pytest.fixture(scope="module")
def client(service: Service, tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    with (
        nginx([service.port], tmp_path_factory.mktemp("nginx")) as url,
        httpx.Client(base_url=url, timeout=WAIT_S) as client,
    ):
        yield client


@pytest.fixture(scope="module", autouse=True)
def slow(client: httpx.Client) -> Iterator[socket.socket]:
    """A client whose headers stop in the middle; nginx's deadline passes during the other tests."""
    with connected(port_of(client)) as connection:
        connection.sendall(b"POST /infer HTTP/1.1\r\nHost: a\r\nX-Slow:")
        yield connection


def port_of(client: httpx.Client) -> int:
    return client.base_url.port or 0


def test_nginx_accepts_the_configuration(tmp_path: Path) -> None:
    assert check_conf(write_conf(tmp_path, [8000], 8080)) == ""


@pytest.mark.parametrize("prefix", ["", "/vision"])
def test_requests_pass_at_the_root_and_under_a_prefix(client: httpx.Client, prefix: str) -> None:
    answer = client.post(f"{prefix}/infer", content=RED)
    assert answer.status_code == 200, answer.text
    assert answer.json()["predictions"][0]["label"] == "red"
    batch = client.post(f"{prefix}/infer/batch", files=[("images", RED)] * 2)
    assert len(batch.json()["results"]) == 2
    assert client.get(f"{prefix}/models").status_code == 200


def test_a_prefix_that_the_client_claims_is_not_passed_on(client: httpx.Client) -> None:
    redirect = client.get("/docs/", headers={"X-Forwarded-Prefix": "/elsewhere"})
    assert redirect.is_redirect
    assert httpx.URL(redirect.headers["location"]).path == "/docs"


def test_large_headers_end_at_nginx(client: httpx.Client) -> None:
    assert client.get("/", headers={"X-Large": "x" * 20_000}).status_code == 400


@pytest.mark.parametrize("path", ["/infer", "/vision/infer"])
def test_too_large_a_picture_gets_the_problem_of_the_service(client: httpx.Client, path: str) -> None:
    answer = client.post(path, content=RED.ljust(2_000_000, b"\0"))
    assert (answer.status_code, answer.headers["content-type"]) == (413, "application/problem+json")
    assert answer.json()["code"] == "too_many_bytes"
    assert answer.json()["request_id"] == answer.headers["x-request-id"]


def test_streamed_results_arrive_while_the_upload_goes_on(client: httpx.Client) -> None:
    """The second picture is sent after the first one's result has been read."""
    with connected(port_of(client)) as connection:

        def send(data: bytes) -> None:
            connection.sendall(b"%x\r\n%s\r\n" % (len(data), data))

        def read_result() -> str:
            received = b""
            while b'"predictions"' not in received or b"}\n" not in received:
                more = connection.recv(65_536)
                assert more, received
                received += more
            line = next(line for line in received.splitlines() if line.startswith(b"{"))
            return str(json.loads(line)["predictions"][0]["label"])

        connection.sendall(HEAD)
        send(PART + RED + b"\r\n" + PART)
        assert read_result() == "red"
        send(colour_picture("blue") + b"\r\n--b--\r\n")
        connection.sendall(b"0\r\n\r\n")
        assert read_result() == "blue"


def test_slow_headers_are_cut_off(slow: socket.socket) -> None:
    assert slow.recv(1024) == b""
