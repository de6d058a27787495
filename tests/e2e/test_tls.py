"""HTTPS by the service itself, in its real processes; a certificate is renewed while it serves."""

import socket
import ssl
import time
import warnings
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import httpx
import pytest
import trustme

from tests.certificates import NAME, issue, trusting
from tests.paths import ROOT
from tests.process import Service, start_service
from tests.server import until

CAT = ROOT / "tests" / "data" / "cat.jpg"


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def files(tmp_path: Path, authority: trustme.CA) -> tuple[Path, Path]:
    return issue(authority, tmp_path)


@pytest.fixture
def service(files: tuple[Path, Path]) -> Iterator[Service]:
    running = start_service(API_TLS_CERT=str(files[0]), API_TLS_KEY=str(files[1]), API_WORKERS="2")
    yield running
    running.terminate()


def test_a_service_with_a_certificate_speaks_https_alone(
    service: Service, authority: trustme.CA, files: tuple[Path, Path]
) -> None:
    address = service.base_url
    assert address.startswith("https://")
    with httpx.Client(base_url=address, verify=trusting(authority)) as client:
        until(lambda: client.get("/health/ready").status_code == 200)
        answer = client.post("/infer", content=CAT.read_bytes())
        assert answer.status_code == 200
        assert answer.headers["strict-transport-security"].startswith("max-age=")
    with pytest.raises(httpx.TransportError):
        httpx.get(address.replace("https", "http") + "/health/live")
    with pytest.raises(httpx.ConnectError, match="certificate"):
        httpx.get(address + "/health/live")
    assert versions_taken(address, authority) == ["TLSv1.2", "TLSv1.3"]

    before = serial(address)
    time.sleep(1.1)  # files are looked at once a second
    issue(authority, files[0].parent)
    until(lambda: serial(address) != before)
    renewed = serial(address)
    time.sleep(1.1)
    files[1].write_text("half of a k")
    assert serial(address) == renewed
    until(lambda: "is not taken" in "".join(service.log))
    assert "Traceback" not in "".join(service.log)


def versions_taken(address: str, authority: trustme.CA) -> list[str | None]:
    return [
        version for version in map(partial(_version, address, authority), ("TLSv1_1", "TLSv1_2", "TLSv1_3")) if version
    ]


def _version(address: str, authority: trustme.CA, name: str) -> str | None:
    """What a client that knows this version alone gets; it offers HTTP/2, too."""
    context = trusting(authority)
    context.set_ciphers("ALL:@SECLEVEL=0")
    context.set_alpn_protocols(["h2", "http/1.1"])
    with warnings.catch_warnings(action="ignore"):  # TLS 1.1 is old
        context.minimum_version = context.maximum_version = ssl.TLSVersion[name]
    try:
        with (
            socket.create_connection((NAME, httpx.URL(address).port or 0), timeout=5) as plain,
            context.wrap_socket(plain, server_hostname=NAME) as connection,
        ):
            assert connection.selected_alpn_protocol() == "http/1.1"
            return connection.version()
    except ssl.SSLError:
        return None


def serial(address: str) -> str:
    return ssl.get_server_certificate((NAME, httpx.URL(address).port or 0))


def test_a_handshake_that_never_ends_is_ended(files: tuple[Path, Path]) -> None:
    tls = {"API_TLS_CERT": str(files[0]), "API_TLS_KEY": str(files[1])}
    service = start_service(API_HEADER_TIMEOUT_S="1", API_WORKERS="1", **tls)
    try:
        with socket.create_connection(("127.0.0.1", httpx.URL(service.base_url).port or 0), timeout=10) as client:
            assert client.recv(1) == b"", "closed, long before the socket's own time is over"
    finally:
        service.terminate()
