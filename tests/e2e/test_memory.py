"""Memory that uploads held returns to the system after their clients have left."""

import socket
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import httpx
import pytest

from tests import plain_http
from tests.e2e.services import WAIT_S
from tests.paths import CAT
from tests.process import running_service
from tests.server import until

UPLOAD = b'--b\r\nContent-Disposition: form-data; name="images"; filename="a"\r\n\r\n' + bytes(19 * 2**20)


def leave(port: int, path: str) -> None:
    head = f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Type: multipart/form-data; boundary=b\r\n"
    # On a busy machine, the body may take longer than it is allowed to.
    with suppress(ConnectionError), socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(f"{head}Content-Length: {len(UPLOAD) + 1000}\r\n\r\n".encode() + UPLOAD)


@pytest.mark.parametrize("path", ["/infer/batch", "/infer/batch?stream=true"])
def test_memory_returns_after_clients_leave_their_uploads(path: str) -> None:
    with running_service() as service, ThreadPoolExecutor(20) as clients:
        port = httpx.URL(service.base_url).port or 0
        plain_http.post(f"{service.base_url}/infer", content=CAT.read_bytes(), timeout=WAIT_S)
        before = service.pss_mb()
        for _ in range(3):
            list(clients.map(leave, [port] * 20, [path] * 20))
        until(lambda: service.pss_mb() < before * 1.1)
