"""Behind Serve's proxy the application answers as one process does."""

import base64
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.cluster.serve_cluster import ServeCluster
from tests.e2e.services import CAT, RED, WAIT_S
from tests.process import running
from tests.raw_http import connected, post, read_answer

PROXY = {"connection", "date", "server", "transfer-encoding"}  # headers of the server in front
TIMES = {"timings_ms", "request_id", "created"}  # differ from request to request
V2_JSON = {"inputs": [{"name": "image", "shape": [1], "datatype": "BYTES", "data": [base64.b64encode(CAT).decode()]}]}
REQUESTS: dict[str, tuple[str, str, dict[str, Any]]] = {
    "infer": ("POST", "/infer?model=efficientnet-lite0", {"content": CAT}),
    "form": ("POST", "/infer?model=picodet-s-416&threshold=0.3", {"files": {"image": ("cat.jpg", CAT)}}),
    "two models": ("POST", "/infer?model=efficientnet-lite0&model=colour", {"content": CAT}),
    "drawn": ("POST", "/infer?model=picodet-s-416", {"content": CAT, "headers": {"Accept": "image/png"}}),
    "not a picture": ("POST", "/infer", {"content": b"hello"}),
    "unknown model": ("POST", "/infer?model=nope", {"content": CAT}),
    "batch": ("POST", "/infer/batch", {"files": [("images", ("red.png", RED)), ("images", ("bad.png", b"hello"))]}),
    "v2": ("POST", "/v2/models/efficientnet-lite0/infer", {"json": V2_JSON}),
    "v2 metadata": ("GET", "/v2/models/picodet-s-416", {}),
    "Hugging Face": ("POST", "/hf/efficientnet-lite0", {"content": CAT}),
    "models": ("GET", "/v1/models", {}),
    "page": ("GET", "/", {}),
    "script": ("GET", "/page/main.js", {}),
    "Swagger": ("GET", "/docs", {}),
    "OpenAPI": ("GET", "/openapi.json", {}),
    "no key": ("PUT", "/models/default", {"json": {"name": "other"}}),
    "not found": ("GET", "/nope", {}),
    "wrong method": ("GET", "/infer", {}),
}


@pytest.fixture(scope="module")
def alone(client_settings: dict[str, str]) -> Iterator[str]:
    """One process with the same settings."""
    with running(client_settings) as service:
        yield service.base_url
        assert not service.bugs()


def without_times(value: object) -> object:
    if isinstance(value, dict):
        return {name: without_times(member) for name, member in value.items() if name not in TIMES}
    return [without_times(item) for item in value] if isinstance(value, list) else value


def body(response: httpx.Response) -> object:
    is_json = response.headers["content-type"].partition(";")[0].endswith("json")
    return without_times(response.json()) if is_json else response.content


@pytest.mark.parametrize("name", REQUESTS)
def test_answer_equals_that_of_one_process(service: ServeCluster, alone: str, name: str) -> None:
    method, path, content = REQUESTS[name]
    here = httpx.request(method, service.base_url + path, timeout=WAIT_S, **content)
    there = httpx.request(method, alone + path, timeout=WAIT_S, **content)
    assert (here.status_code, body(here)) == (there.status_code, body(there))
    names = here.headers.keys() - PROXY
    assert names == there.headers.keys() - PROXY
    assert here.headers["x-request-id"].count(",") == 0


def test_a_batch_is_streamed_while_it_is_sent(service: ServeCluster) -> None:
    part = b'--b\r\nContent-Disposition: form-data; name="images"; filename="red.png"\r\n\r\n' + RED + b"\r\n"
    parts, end = part * 2, b"--b--\r\n"
    headers = "Content-Type: multipart/form-data; boundary=b\r\nConnection: close\r\n"
    request = post(parts + end, "/infer/batch?stream=true", headers)
    with connected(service.port) as connection:
        connection.sendall(request[:-9])  # without the end of the second picture
        received = b""
        while b'"predictions"' not in received:
            more = connection.recv(65_536)
            assert more, received
            received += more
        assert received.count(b'"predictions"') == 1
        connection.sendall(request[-9:])
        while more := connection.recv(65_536):
            received += more
    assert received.count(b'"label":"red"') == 2


def test_too_large_a_body_gets_413_that_can_be_read(service: ServeCluster) -> None:
    response = httpx.post(f"{service.base_url}/infer", content=bytes(21 * 2**20), timeout=WAIT_S)
    assert (response.status_code, response.json()["code"]) == (413, "too_many_bytes")


def test_too_slow_a_body_gets_408(service: ServeCluster) -> None:
    with connected(service.port) as connection:
        connection.sendall(post(RED)[:-1])
        answer = read_answer(connection)
        assert (answer.status, answer.json()["code"]) == (408, "body_too_slow")


def test_metrics_are_those_of_one_replica(service: ServeCluster) -> None:
    assert "fovea_" in httpx.get(f"{service.base_url}/metrics", timeout=WAIT_S).text
