import hashlib
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.conftest import Serve
from tests.problems import assert_problem
from tests.server import service_settings, serving

HASHED = "sha256:" + hashlib.sha256(b"other").hexdigest()


@pytest.fixture(scope="module")
def client(tiny_models: Path) -> Iterator[httpx.Client]:
    """A client of a server with two keys, one of them as a hash."""
    with serving(service_settings(models_dir=tiny_models, default_model="colour", keys=("secret", HASHED))) as running:
        yield running.client


@pytest.mark.parametrize(
    "headers",
    [
        {"X-API-Key": "secret"},
        {"Authorization": "Bearer secret"},
        {"Authorization": "bearer secret"},
        {"X-API-Key": "other"},
    ],
)
def test_valid_key_is_accepted_in_both_headers_as_text_and_hash(
    client: httpx.Client, red_png: bytes, headers: dict[str, str]
) -> None:
    assert client.post("/infer", content=red_png, headers=headers).status_code == 200


@pytest.mark.parametrize(
    ("headers", "status", "code"),
    [
        ({}, 401, "no_key"),
        ({"Authorization": "Basic secret"}, 401, "no_key"),
        ({"X-API-Key": ""}, 401, "no_key"),
        ({"X-API-Key": "Secret"}, 403, "wrong_key"),
        ({"X-API-Key": HASHED}, 403, "wrong_key"),
        ({"Authorization": "Bearer sécret"}, 403, "wrong_key"),
    ],
)
def test_missing_or_wrong_key_is_rejected(
    client: httpx.Client, red_png: bytes, headers: dict[str, str], status: int, code: str
) -> None:
    latin = [(name.encode(), value.encode("latin-1")) for name, value in headers.items()]
    assert_problem(client.post("/infer?top_k=0", content=red_png, headers=latin), status, code)


def test_health_needs_no_key(client: httpx.Client) -> None:
    assert client.get("/health").status_code == 200


def test_key_is_never_logged(serve: Serve, red_png: bytes, caplog: pytest.LogCaptureFixture) -> None:
    client = serve(keys=("s3cr3t-k3y",)).client
    client.post("/infer", content=red_png, headers={"X-API-Key": "s3cr3t-k3y"})
    client.post("/infer", content=red_png, headers={"X-API-Key": "wr0ng-k3y"})
    assert len(caplog.records) >= 2
    assert "k3y" not in "".join(str(record.__dict__) for record in caplog.records)
