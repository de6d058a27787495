"""Pages of other origins: none may ask unless the operator names them."""

import httpx
import pytest

from tests.conftest import Serve

OURS = "https://app.example.com"
THEIRS = "https://evil.example.com"
PREFLIGHT = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "X-API-Key, Content-Type"}


def preflight(client: httpx.Client, origin: str, **headers: str) -> httpx.Response:
    return client.options("/infer", headers={"Origin": origin, **PREFLIGHT, **headers})


def test_without_the_setting_no_page_of_another_origin_reads_anything(serve: Serve, red_png: bytes) -> None:
    client = serve().client
    assert preflight(client, OURS).status_code == 405
    answer = client.post("/infer", content=red_png, headers={"Origin": OURS})
    assert not [name for name in answer.headers if name.startswith("access-control")]


def test_a_named_origin_may_ask_and_read_answers_and_errors(
    serve: Serve, red_png: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = serve(cors_origins=(OURS,), keys=("secret",)).client
    allowed = preflight(client, OURS)
    assert allowed.status_code == 200
    assert allowed.headers["access-control-allow-origin"] == OURS
    assert {"x-api-key", "content-type"} <= set(allowed.headers["access-control-allow-headers"].lower().split(", "))
    key = {"Origin": OURS, "X-API-Key": "secret"}
    answers = {
        200: client.post("/infer", content=red_png, headers=key),
        401: client.post("/infer", content=red_png, headers={"Origin": OURS}),
        400: client.post("/infer", content=b"no picture", headers=key),
        422: client.post("/infer?top_k=0", content=red_png, headers=key),
        404: client.get("/nothing", headers=key),
    }

    def bug(*_: object) -> None:
        raise KeyError

    monkeypatch.setattr("engine.inference_engine.predict", bug)
    answers[500] = client.post("/infer", content=red_png, headers=key)
    for status, answer in answers.items():
        assert answer.status_code == status
        assert answer.headers["access-control-allow-origin"] == OURS
        assert "origin" in answer.headers["vary"].lower()
        assert "x-request-id" in answer.headers["access-control-expose-headers"].lower()
        assert "access-control-allow-credentials" not in answer.headers


def test_another_origin_gets_nothing_it_may_read(serve: Serve, red_png: bytes) -> None:
    client = serve(cors_origins=(OURS,)).client
    for origin in (THEIRS, "null", OURS + ".evil.example.com", "http://app.example.com"):
        assert preflight(client, origin).status_code == 400
        answer = client.post("/infer", content=red_png, headers={"Origin": origin})
        assert "access-control-allow-origin" not in answer.headers


def test_all_origins_may_ask_but_never_with_credentials(serve: Serve, red_png: bytes) -> None:
    client = serve(cors_origins=("*",)).client
    for answer in (
        preflight(client, THEIRS),
        client.post("/infer", content=red_png, headers={"Origin": THEIRS, "Cookie": "a=b"}),
    ):
        assert answer.headers["access-control-allow-origin"] == "*"
        assert "access-control-allow-credentials" not in answer.headers
