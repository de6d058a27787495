"""What browsers are told with every answer."""

import asyncio

import httpx
import pytest

from tests.conftest import Serve
from tests.server import Server

PAGE_HEADERS = {"content-security-policy", "x-frame-options", "referrer-policy", "cross-origin-opener-policy"}


@pytest.mark.parametrize("path", ["/health", "/health/live", "/models", "/docs", "/docs/start.js", "/nothing", "/"])
def test_every_answer_to_a_browser_is_confined(server: Server, path: str) -> None:
    headers = server.client.get(path).headers
    assert headers["x-content-type-options"] == "nosniff"
    assert set(headers) >= PAGE_HEADERS
    policy = headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy
    assert "strict-transport-security" not in headers


@pytest.mark.parametrize("content", [b"", b"no picture"])
def test_answers_and_errors_of_infer_are_not_kept_nor_guessed(server: Server, red_png: bytes, content: bytes) -> None:
    for response in (server.client.post("/infer", content=content), server.client.post("/infer", content=red_png)):
        assert response.headers["x-content-type-options"] == "nosniff"
        assert response.headers["cache-control"] == "no-store"


def test_no_header_comes_twice(server: Server, red_png: bytes) -> None:
    answers = [server.client.get(path) for path in ("/models", "/docs", "/docs/start.js", "/openapi.json")]
    for answer in (*answers, server.client.post("/infer", content=red_png)):
        names = [name.lower() for name, _ in answer.headers.raw]
        assert len(names) == len(set(names))


def test_what_has_an_etag_may_be_kept_and_asked_for_again(server: Server) -> None:
    for path in ("/models", "/docs/swagger-ui.css"):
        first = server.client.get(path)
        assert "no-store" not in first.headers.get("cache-control", "")
        again = server.client.get(path, headers={"If-None-Match": first.headers["etag"]})
        assert again.status_code == 304


def test_the_docs_page_holds_no_script_and_no_style(server: Server) -> None:
    page = server.client.get("/docs").text
    assert "<script>" not in page
    assert "<style" not in page
    assert "style=" not in page


@pytest.mark.parametrize("path", ["/docs/redoc.standalone.js", "/docs/..%2fstart.js", "/docs/nothing.js", "/docs/%00"])
def test_only_the_files_of_the_docs_are_there(server: Server, path: str) -> None:
    assert server.client.get(path).status_code == 404


def test_the_document_names_where_a_proxy_puts_the_service(server: Server) -> None:
    async def get(path: str) -> httpx.Response:
        transport = httpx.ASGITransport(server.api.app, root_path="/fovea")
        async with httpx.AsyncClient(transport=transport, base_url="http://x") as client:
            return await client.get(path)

    assert asyncio.run(get("/fovea/openapi.json")).json()["servers"] == [{"url": "/fovea"}]
    assert 'src="/fovea/docs/start.js"' in asyncio.run(get("/fovea/docs")).text


def test_protected_docs_need_a_key_in_a_header_or_as_a_password(serve: Serve) -> None:
    client = serve(keys=("secret",), admin_keys=("boss",), protect=("docs", "metrics")).client
    for path in ("/docs", "/docs/start.js", "/openapi.json", "/metrics"):
        refused = client.get(path)
        assert refused.status_code == 401
        assert refused.headers["www-authenticate"].startswith("Basic ")
        assert client.get(path, headers={"X-API-Key": "secret"}).status_code == 200
        assert client.get(path, auth=("anybody", "boss")).status_code == 200
        assert client.get(path, auth=("secret", "wrong")).status_code == 401
        assert client.get(path, headers={"X-API-Key": "wrong"}).status_code == 403
        assert client.get(path, headers={"Authorization": "Basic %%%"}).status_code == 401


@pytest.mark.parametrize("path", ["/infer", "/models/colour/versions"])
def test_a_password_opens_nothing_that_changes_or_costs(serve: Serve, red_png: bytes, path: str) -> None:
    """Browsers send it by themselves, also for a foreign page's form."""
    client = serve(keys=("secret",), admin_keys=("boss",), protect=("docs",)).client
    assert client.post(path, content=red_png, auth=("anybody", "boss")).status_code == 401


def test_docs_are_open_without_protect_or_without_keys(serve: Serve) -> None:
    assert serve(keys=("secret",)).client.get("/docs").status_code == 200
    assert serve(protect=("docs",)).client.get("/docs").status_code == 200


def test_versions_are_for_those_with_a_key(serve: Serve) -> None:
    client: httpx.Client = serve(keys=("secret",)).client
    assert client.get("/health").json()["versions"] == {}
    assert "python" in client.get("/health", headers={"X-API-Key": "secret"}).json()["versions"]
    assert "python" in serve().client.get("/health").json()["versions"]
