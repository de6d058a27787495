import asyncio
import logging
import socket
from collections.abc import Iterator

import pytest
from starlette.requests import Request

from api.problems import RateLimitedError
from api.security.rate_limit import RateLimit
from tests.conftest import Serve
from tests.problems import assert_problem


def test_each_key_has_its_own_limit(serve: Serve, red_png: bytes) -> None:
    client = serve(keys=("one", "two"), rate_limit="1/hour").client
    one, two = {"X-API-Key": "one"}, {"X-API-Key": "two"}
    assert client.post("/infer", content=red_png, headers=one).status_code == 200
    assert client.post("/infer", content=red_png, headers=two).status_code == 200
    rejected = client.post("/infer", content=red_png, headers=one)
    assert "1 per 1 hour" in assert_problem(rejected, 429, "rate_limited")
    assert 1 <= int(rejected.headers["retry-after"]) <= 3600


def test_keys_without_effect_share_the_limit_of_the_address(serve: Serve, red_png: bytes) -> None:
    client = serve(rate_limit="1/hour").client
    assert client.post("/infer", content=red_png, headers={"X-API-Key": "a"}).status_code == 200
    assert_problem(client.post("/infer", content=red_png, headers={"X-API-Key": "b"}), 429, "rate_limited")


def test_health_is_not_limited(serve: Serve) -> None:
    client = serve(rate_limit="1/hour").client
    assert [client.get("/health/live").status_code for _ in range(5)] == [200] * 5


def test_wrong_keys_are_limited_by_address(serve: Serve, red_png: bytes) -> None:
    client = serve(keys=("one",), admin_keys=("boss",), rate_limit="2/hour").client
    wrong = {"X-API-Key": "guess"}
    statuses = [client.post("/infer", content=red_png, headers=wrong).status_code for _ in range(3)]
    assert statuses == [403, 403, 429]
    assert client.post("/infer", content=red_png, headers={"X-API-Key": "one"}).status_code == 200
    statuses = [client.delete("/models/colour/active", headers=wrong).status_code for _ in range(3)]
    assert statuses[-1] == 429


@pytest.mark.parametrize("path", ["/health", "/docs", "/metrics"])
@pytest.mark.parametrize("headers", [{"X-API-Key": "guess"}, {"Authorization": "Basic OmE="}], ids=["key", "password"])
def test_wrong_keys_for_pages_are_limited_by_address(serve: Serve, path: str, headers: dict[str, str]) -> None:
    client = serve(keys=("one",), protect=("docs", "metrics"), rate_limit="2/hour").client
    assert [client.get(path, headers=headers).status_code for _ in range(3)][-1] == 429
    assert client.get(path, headers={"X-API-Key": "one"}).status_code == 200
    assert client.get("/health").status_code == 200


@pytest.mark.parametrize(
    ("first", "second", "same"),
    [
        ("::ffff:10.0.0.1", "10.0.0.1", True),
        ("::ffff:10.0.0.1", "::ffff:10.0.0.2", False),
        ("2001:db8::1", "2001:db8::2", True),
        ("2001:db8::1", "2001:db8:0:1::1", False),
        ("fe80::1%eth0", "fe80::2%eth0", True),
    ],
)
def test_client_is_an_ipv4_address_or_an_ipv6_network(first: str, second: str, same: bool) -> None:
    async def second_is_limited() -> bool:
        limit = RateLimit("1/hour")
        await limit.check(_from(first), None)
        try:
            await limit.check(_from(second), None)
        except RateLimitedError:
            return True
        return False

    assert asyncio.run(second_is_limited()) is same


@pytest.fixture
def closed_port() -> Iterator[int]:
    """A port that is taken, but rejects connections."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield taken.getsockname()[1]


def test_requests_are_served_while_redis_is_down(closed_port: int, caplog: pytest.LogCaptureFixture) -> None:
    async def check_thrice() -> None:
        limit = RateLimit("1/hour", f"redis://:secret@127.0.0.1:{closed_port}")
        for _ in range(3):
            await limit.check(_from("10.0.0.1"), None)

    with caplog.at_level(logging.WARNING, "fovea"):
        asyncio.run(check_thrice())
    assert caplog.text.count("rate limit storage failed") == 1
    assert "secret" not in caplog.text


def _from(address: str) -> Request:
    return Request({"type": "http", "client": (address, 1), "headers": []})
