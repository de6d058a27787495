"""Keys, and full queues: the service's own, and that of Serve."""

import httpx
import pytest

from tests.cluster.serve_cluster import ServeCluster
from tests.e2e.load import Load
from tests.e2e.services import RED, WAIT_S, own_models
from tests.server import until
from tests.tiny_models import add_model, slow_graph

CLIENTS = 8
KEY = {"X-API-Key": "user"}
# One request runs and one waits; a third that the replica takes is rejected by the service, and what is above that, and
# above the one that waits for the replica, by Serve.
QUEUES = {"max_ongoing_requests": 3, "max_queued_requests": 1}


@pytest.fixture(scope="module")
def url(cluster: ServeCluster, tmp_path_factory: pytest.TempPathFactory) -> str:
    models = tmp_path_factory.mktemp("slow")
    add_model(models, "colour", slow_graph(rounds=10))
    limits = {"API_KEYS": "user", "API_QUEUE_LIMIT": "1", "API_CONCURRENCY": "1"}
    cluster.deploy(own_models(models) | limits, replicas=1, **QUEUES)
    return cluster.base_url


@pytest.mark.parametrize(("key", "status"), [(None, 401), ("wrong", 403), ("user", 200)])
def test_a_request_needs_a_key(url: str, key: str | None, status: int) -> None:
    headers = {"X-API-Key": key} if key else {}
    assert httpx.post(f"{url}/infer", content=RED, headers=headers, timeout=WAIT_S).status_code == status


def test_full_queues_are_503_with_retry_after(url: str) -> None:
    def judge(response: httpx.Response) -> str:
        if response.is_success:
            return str(response.json()["predictions"][0]["label"])
        assert response.headers.get("retry-after", "").isdecimal(), response.headers
        is_ours = response.headers["content-type"].startswith("application/problem+json")
        return f"{response.status_code} {response.json()['code'] if is_ours else 'Serve'}"

    with Load(url, CLIENTS, judge=judge, headers=KEY) as load:
        until(lambda: all(load.answers[kind] >= 10 for kind in ("red", "503 queue_full", "503 Serve")))
    assert set(load.answers) == {"red", "503 queue_full", "503 Serve"}
