"""CORS: pages of other origins may call the API only if API_CORS_ORIGINS names them."""

import httpx
import pytest

from tests.conftest import Serve

ALLOWED = "https://app.example.com"
OTHER = "https://evil.example.com"
PREFLIGHT = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "X-API-Key, Content-Type"}

READABLE = {"etag", "retry-after", "server-timing", "www-authenticate", "x-request-id"}


def preflight(client: httpx.Client, origin: str, **headers: str) -> httpx.Response:
    return client.options("/infer", headers={"Origin": origin, **PREFLIGHT, **headers})


def test_without_origins_no_cors_header_is_sent(serve: Serve, red_png: bytes) -> None:
    client = serve().client
    assert preflight(client, ALLOWED).status_code == 405
    response = client.post("/infer", content=red_png, headers={"Origin": ALLOWED})
    assert not [name for name in response.headers if name.startswith("access-control")]


def test_configured_origin_reads_responses_and_errors(
    serve: Serve, red_png: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = serve(cors_origins=(ALLOWED,), keys=("secret",)).client
    allowed = preflight(client, ALLOWED)
    assert allowed.status_code == 200
    assert allowed.headers["access-control-allow-origin"] == ALLOWED
    assert {"x-api-key", "content-type"} <= set(allowed.headers["access-control-allow-headers"].lower().split(", "))
    key = {"Origin": ALLOWED, "X-API-Key": "secret"}
    responses = {
        200: client.post("/infer", content=red_png, headers=key),
        401: client.post("/infer", content=red_png, headers={"Origin": ALLOWED}),
        400: client.post("/infer", content=b"no picture", headers=key),
        422: client.post("/infer?top_k=0", content=red_png, headers=key),
        404: client.get("/nothing", headers=key),
    }

    def bug(*_: object) -> None:
        raise KeyError

    monkeypatch.setattr("engine.inference_engine.predict", bug)
    responses[500] = client.post("/infer", content=red_png, headers=key)
    for status, response in responses.items():
        assert response.status_code == status
        assert response.headers["access-control-allow-origin"] == ALLOWED
        assert "origin" in response.headers["vary"].lower()
        assert set(response.headers["access-control-expose-headers"].lower().split(", ")) >= READABLE
        assert "access-control-allow-credentials" not in response.headers


def test_other_origins_are_rejected(serve: Serve, red_png: bytes) -> None:
    client = serve(cors_origins=(ALLOWED,)).client
    for origin in (OTHER, "null", ALLOWED + ".evil.example.com", "http://app.example.com"):
        assert preflight(client, origin).status_code == 400
        response = client.post("/infer", content=red_png, headers={"Origin": origin})
        assert "access-control-allow-origin" not in response.headers


def test_wildcard_origin_is_allowed_without_credentials(serve: Serve, red_png: bytes) -> None:
    client = serve(cors_origins=("*",)).client
    for response in (
        preflight(client, OTHER),
        client.post("/infer", content=red_png, headers={"Origin": OTHER, "Cookie": "a=b"}),
    ):
        assert response.headers["access-control-allow-origin"] == "*"
        assert "access-control-allow-credentials" not in response.headers
