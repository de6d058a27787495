import pytest
from starlette.requests import Request

from api.problems import RateLimitedError
from api.security.rate_limit import RateLimit
from tests.conftest import Serve
from tests.problems import assert_problem


def test_each_key_has_its_own_count(serve: Serve, red_png: bytes) -> None:
    client = serve(keys=("one", "two"), rate_limit="1/minute").client
    one, two = {"X-API-Key": "one"}, {"X-API-Key": "two"}
    assert client.post("/infer", content=red_png, headers=one).status_code == 200
    assert client.post("/infer", content=red_png, headers=two).status_code == 200
    assert "1 per 1 minute" in assert_problem(client.post("/infer", content=red_png, headers=one), 429, "rate_limited")


def test_a_key_that_is_not_asked_for_buys_no_fresh_count(serve: Serve, red_png: bytes) -> None:
    client = serve(rate_limit="1/minute").client
    assert client.post("/infer", content=red_png, headers={"X-API-Key": "a"}).status_code == 200
    assert_problem(client.post("/infer", content=red_png, headers={"X-API-Key": "b"}), 429, "rate_limited")


def test_health_is_not_counted(serve: Serve) -> None:
    client = serve(rate_limit="1/minute").client
    assert [client.get("/health/live").status_code for _ in range(5)] == [200] * 5


def test_wrong_keys_are_counted_by_address(serve: Serve, red_png: bytes) -> None:
    client = serve(keys=("one",), admin_keys=("boss",), rate_limit="2/minute").client
    wrong = {"X-API-Key": "guess"}
    statuses = [client.post("/infer", content=red_png, headers=wrong).status_code for _ in range(3)]
    assert statuses == [403, 403, 429]
    assert client.post("/infer", content=red_png, headers={"X-API-Key": "one"}).status_code == 200, (
        "the key has its own"
    )
    statuses = [client.delete("/models/colour/active", headers=wrong).status_code for _ in range(3)]
    assert statuses[-1] == 429


def test_ipv4_clients_of_a_socket_for_both_are_told_apart() -> None:
    limit = RateLimit("1/minute")
    limit.check(_from("::ffff:10.0.0.1"), None)
    limit.check(_from("::ffff:10.0.0.2"), None)
    with pytest.raises(RateLimitedError):
        limit.check(_from("10.0.0.1"), None)


def _from(address: str) -> Request:
    return Request({"type": "http", "client": (address, 1), "headers": []})
