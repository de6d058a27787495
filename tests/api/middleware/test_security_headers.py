"""Security headers in a browser: content, caching, framing, HTTPS; and the keys of the docs."""

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from api.middleware.security_headers import security_headers
from tests.conftest import Serve
from tests.server import Server, service_settings, serving

PAGE_HEADERS = {"content-security-policy", "x-frame-options", "referrer-policy", "cross-origin-opener-policy"}


@pytest.fixture(scope="module")
def behind_proxy(tiny_models: Path) -> Iterator[Server]:
    """A server that trusts the test's address as a proxy."""
    with serving(
        service_settings(models_dir=tiny_models, default_model="colour", trusted_proxies=("127.0.0.1",))
    ) as running:
        yield running


@pytest.mark.parametrize(
    "path", ["/health", "/health/live", "/models", "/docs", "/docs/start.js", "/nothing", "/", "/page/main.js"]
)
def test_get_responses_have_page_headers(server: Server, path: str) -> None:
    headers = server.client.get(path).headers
    assert headers["x-content-type-options"] == "nosniff"
    assert set(headers) >= PAGE_HEADERS
    policy = headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy


@pytest.mark.parametrize("content", [b"", b"no picture"])
def test_infer_responses_are_not_cached_nor_sniffed(server: Server, red_png: bytes, content: bytes) -> None:
    for response in (server.client.post("/infer", content=content), server.client.post("/infer", content=red_png)):
        assert response.headers["x-content-type-options"] == "nosniff"
        assert response.headers["cache-control"] == "no-store"


@pytest.mark.parametrize("path", ["/health/live", "/infer", "/nothing"])
@pytest.mark.parametrize(
    ("trusted", "scheme", "sent"), [(True, "https", True), (True, "http", False), (False, "https", False)]
)
def test_hsts_is_sent_over_https_only(
    server: Server, behind_proxy: Server, path: str, trusted: bool, scheme: str, sent: bool
) -> None:
    """tests/e2e/test_tls.py has HTTPS without a proxy."""
    client = (behind_proxy if trusted else server).client
    for method in ("GET", "POST"):
        headers = client.request(method, path, headers={"X-Forwarded-Proto": scheme}).headers
        assert ("strict-transport-security" in headers) == sent


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_hsts_follows_the_scheme_of_the_connection(scheme: str) -> None:
    names = {name for name, _ in security_headers({"type": "http", "method": "GET", "scheme": scheme}, [])}
    assert (b"strict-transport-security" in names) == (scheme == "https")


def test_no_header_is_sent_twice(server: Server, red_png: bytes) -> None:
    responses = [server.client.get(path) for path in ("/models", "/docs", "/docs/start.js", "/openapi.json")]
    for response in (*responses, server.client.post("/infer", content=red_png)):
        names = [name.lower() for name, _ in response.headers.raw]
        assert len(names) == len(set(names))


@pytest.mark.parametrize("path", ["/models", "/docs", "/docs/swagger-ui.css"])
def test_responses_with_an_etag_are_revalidated(server: Server, path: str) -> None:
    first = server.client.get(path)
    assert first.headers["cache-control"] == "no-cache"
    again = server.client.get(path, headers={"If-None-Match": first.headers["etag"]})
    assert again.status_code == 304


def test_docs_page_has_no_inline_script_or_style(server: Server) -> None:
    page = server.client.get("/docs").text
    assert "<script>" not in page
    assert "<style" not in page
    assert "style=" not in page


@pytest.mark.parametrize(
    "path", ["/docs/redoc.standalone.js", "/docs/docs.html", "/docs/..%2fstart.js", "/docs/nothing.js", "/docs/%00"]
)
def test_unknown_docs_files_are_404(server: Server, path: str) -> None:
    assert server.client.get(path).status_code == 404


def test_protected_docs_accept_a_key_as_header_or_password(serve: Serve) -> None:
    client = serve(keys=("secret",), admin_keys=("boss",), protect=("docs", "metrics")).client
    for path in ("/docs", "/docs/start.js", "/openapi.json", "/metrics"):
        rejected = client.get(path)
        assert rejected.status_code == 401
        assert rejected.headers["www-authenticate"].startswith("Basic ")
        assert client.get(path, headers={"X-API-Key": "secret"}).status_code == 200
        assert client.get(path, auth=("user", "boss")).status_code == 200
        assert client.get(path, auth=("secret", "wrong")).status_code == 401
        assert client.get(path, headers={"X-API-Key": "wrong"}).status_code == 403
        assert client.get(path, headers={"Authorization": "Basic %%%"}).status_code == 401


@pytest.mark.parametrize("path", ["/infer", "/models/colour/versions"])
def test_other_routes_reject_a_password(serve: Serve, red_png: bytes, path: str) -> None:
    """Browsers send a stored password with every request, even with a form of another site."""
    client = serve(keys=("secret",), admin_keys=("boss",), protect=("docs",)).client
    assert client.post(path, content=red_png, auth=("user", "boss")).status_code == 401


def test_docs_are_public_without_protect_or_keys(serve: Serve) -> None:
    assert serve(keys=("secret",)).client.get("/docs").status_code == 200
    assert serve(protect=("docs",)).client.get("/docs").status_code == 200


def test_health_shows_versions_to_clients_with_a_key(serve: Serve) -> None:
    client: httpx.Client = serve(keys=("secret",)).client
    assert client.get("/health").json()["versions"] == {}
    assert "python" in client.get("/health", headers={"X-API-Key": "secret"}).json()["versions"]
    assert "python" in serve().client.get("/health").json()["versions"]
