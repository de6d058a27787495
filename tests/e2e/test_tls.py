"""HTTPS by the service itself; a certificate is renewed while it serves."""

import socket
import ssl
import warnings
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import httpx
import pytest
import trustme

from tests.certificates import NAME, issue, trusting
from tests.e2e.services import CAT, WAIT_S
from tests.process import Service, start_service
from tests.server import until

VERSIONS = ("TLSv1_1", "TLSv1_2", "TLSv1_3")


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def files(tmp_path: Path, authority: trustme.CA) -> tuple[Path, Path]:
    return issue(authority, tmp_path)


@pytest.fixture(params=["1", "2"])
def service(request: pytest.FixtureRequest, files: tuple[Path, Path]) -> Iterator[Service]:
    running = start_service(API_TLS_CERT=str(files[0]), API_TLS_KEY=str(files[1]), API_WORKERS=request.param)
    yield running
    running.terminate()


def test_a_service_with_a_certificate_speaks_https_only_and_reloads_it(
    service: Service, authority: trustme.CA, files: tuple[Path, Path]
) -> None:
    address = service.base_url.replace("http:", "https:")
    with httpx.Client(base_url=address, verify=trusting(authority), timeout=30) as client:
        until(lambda: _ready(client))
        answer = client.post("/infer", content=CAT)
        assert answer.status_code == 200
        assert answer.headers["strict-transport-security"].startswith("max-age=")
    with pytest.raises(httpx.TransportError):
        httpx.get(address.replace("https", "http") + "/health/live", timeout=WAIT_S)
    with pytest.raises(httpx.ConnectError, match="certificate"):
        httpx.get(address + "/health/live", timeout=WAIT_S)
    assert list(filter(None, map(partial(version, address, authority), VERSIONS))) == ["TLSv1.2", "TLSv1.3"]

    before = serial(address)
    issue(authority, files[0].parent)
    until(lambda: all(serial(address) != before for _ in range(6)))
    renewed = serial(address)
    logged = len(service.log)
    files[1].write_text("half of a k")
    until(lambda: serial(address) == renewed and any("certificate" in line for line in service.log[logged:]))
    assert not service.bugs()


def _ready(client: httpx.Client) -> bool:
    try:
        return client.get("/health/ready").status_code == 200
    except httpx.TransportError:
        return False


def version(address: str, authority: trustme.CA, name: str) -> str | None:
    """The TLS version that a client of this version alone gets; it offers HTTP/2, too."""
    context = trusting(authority)
    context.set_ciphers("ALL:@SECLEVEL=0")
    context.set_alpn_protocols(["h2", "http/1.1"])
    with warnings.catch_warnings(action="ignore"):  # TLS 1.1 is deprecated
        context.minimum_version = context.maximum_version = ssl.TLSVersion[name]
    try:
        with (
            socket.create_connection((NAME, httpx.URL(address).port or 0), timeout=WAIT_S) as plain,
            context.wrap_socket(plain, server_hostname=NAME) as connection,
        ):
            assert connection.selected_alpn_protocol() in ("http/1.1", None)
            return connection.version()
    except ssl.SSLError:
        return None


def serial(address: str) -> str:
    return ssl.get_server_certificate((NAME, httpx.URL(address).port or 0))
