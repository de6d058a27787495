"""A client's rate is one, however many workers answer it."""

from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import httpx

from tests.paths import ROOT
from tests.process import running_service

CAT = (ROOT / "tests" / "data" / "cat.jpg").read_bytes()


def test_all_workers_count_together() -> None:
    with running_service(API_WORKERS="3", API_RATE_LIMIT="20/hour", API_TRUSTED_PROXIES="127.0.0.1") as service:
        assert len(service.workers()) == 3

        def ask(client: str) -> int:  # a connection of its own each time, so that all workers are met
            headers = {"X-Forwarded-For": f"203.0.113.99, {client}"}
            return httpx.post(f"{service.base_url}/infer", content=CAT, headers=headers, timeout=30).status_code

        with ThreadPoolExecutor(6) as senders:
            first = Counter(senders.map(ask, ["203.0.113.1"] * 60))
            second = Counter(senders.map(ask, ["2001:db8::1", "2001:db8::2"] * 20))  # one network, one client
    assert first == {200: 20, 429: 40}
    assert second == {200: 20, 429: 20}
