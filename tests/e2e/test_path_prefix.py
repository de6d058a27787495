"""The service at /vision/ behind a real nginx (Debian: nginx), in a real browser."""

import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from selenium import webdriver

from tests.e2e.swagger import CAT, Swagger, console_errors, requested_urls
from tests.process import running_service
from tests.server import until

# docs/operate.md shows the second location. The first sets no headers: /docs must work there, too.
# `user` counts only if root runs this: without it, workers cannot write to the test's folder.
_CONFIG = """
daemon off;
user root;
pid {folder}/nginx.pid;
error_log stderr;
events {{}}
http {{
    access_log off;
    client_max_body_size 20m;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    server {{
        listen 127.0.0.1:{port};
        location /plain/ {{
            proxy_pass {service}/;
        }}
        location /vision/ {{
            proxy_pass {service}/;
            proxy_set_header Host $http_host;
            proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
            proxy_set_header X-Forwarded-Proto $scheme;
            proxy_set_header X-Forwarded-Prefix /vision;
        }}
    }}
}}
"""


@contextmanager
def nginx(folder: Path, service: str) -> Iterator[str]:
    """The base URL of an nginx in front of `service`."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    config = folder / "nginx.conf"
    config.write_text(_CONFIG.format(folder=folder, port=port, service=service))
    process = subprocess.Popen(["/usr/sbin/nginx", "-e", "stderr", "-p", str(folder), "-c", str(config)])
    try:
        until(lambda: process.poll() is not None or accepts(port))
        assert process.poll() is None, "nginx has not started; its error is above"
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(10)


def accepts(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port)).close()
    except ConnectionRefusedError:
        return False
    return True


@pytest.fixture(scope="module")
def proxy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with (
        running_service(API_TRUSTED_PROXIES="127.0.0.1") as service,
        nginx(tmp_path_factory.mktemp("nginx"), service.base_url) as url,
    ):
        yield url


@pytest.mark.parametrize("location", ["plain", "vision"])
def test_swagger_sends_a_picture_behind_a_prefix(browser: webdriver.Chrome, proxy: str, location: str) -> None:
    browser.get(f"{proxy}/{location}/")
    assert browser.current_url.rstrip("/") == f"{proxy}/{location}/docs"
    infer = Swagger(browser, "inference", "infer")
    infer.try_out()
    infer.choose_file(CAT)
    assert infer.execute()["predictions"][0]["label"] == "tiger cat"
    assert infer.status() == "200"
    urls = [url for url in requested_urls(browser) if url.startswith("http")]
    assert f"{proxy}/{location}/infer" in {url.partition("?")[0] for url in urls}
    assert not [url for url in urls if not url.startswith(f"{proxy}/{location}/")]
    assert console_errors(browser) == []


@pytest.mark.parametrize("path", ["docs/", "models/"])
def test_redirects_keep_the_prefix(proxy: str, path: str) -> None:
    response = httpx.get(f"{proxy}/vision/{path}", follow_redirects=True)
    assert response.status_code == 200
    assert str(response.url) == f"{proxy}/vision/{path.rstrip('/')}"
