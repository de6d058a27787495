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
