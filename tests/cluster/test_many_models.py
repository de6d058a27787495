"""A hundred models on two replicas that hold at most 60 each, behind an ingress."""

import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from tests.cluster.serve_cluster import HA_PROXY, ServeCluster
from tests.e2e.services import RED, WAIT_S, own_models
from tests.raw_http import connected, post, read_answer
from tests.server import until
from tests.tiny_models import add_model, colour_graph

pytestmark = pytest.mark.skipif(HA_PROXY, reason="what the ingress does is the same behind both proxies")

MODELS = ["colour", *(f"colour-{number}" for number in range(99))]
REPLICAS, MODELS_PER_REPLICA = 2, 60
LOADED = re.compile(r"model loaded  model=(colour(?:-\d+)?) ")


@pytest.fixture(scope="module")
def url(cluster: ServeCluster, tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("models")
    for name in MODELS:
        add_model(folder, name, colour_graph())
    cluster.deploy_multiplexed(own_models(folder) | {"API_KEYS": "user"}, MODELS_PER_REPLICA, replicas=REPLICAS)
    return cluster.base_url


@pytest.fixture(scope="module")
def client(url: str) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=url, headers={"X-API-Key": "user"}, timeout=WAIT_S) as opened:
        yield opened


def infer(client: httpx.Client, model: str) -> httpx.Response:
    return client.post(f"/infer?model={model}", content=RED)


def loads(cluster: ServeCluster) -> list[list[str]]:
    """The models that each process has loaded, in their order."""
    return [LOADED.findall(log) for log in cluster.logs()]


def test_replicas_share_the_models(cluster: ServeCluster, client: httpx.Client) -> None:
    """Serve learns within a second who has which model; then no request loads one. Most models are on one replica."""

    def label(name: str) -> str:
        response = infer(client, name)
        assert response.status_code == 200, response.text
        return str(response.json()["predictions"][0]["label"])

    def round_of_all() -> bool:
        before = sum(map(len, loads(cluster)))
        with ThreadPoolExecutor(8) as threads:
            assert set(threads.map(label, MODELS)) == {"red"}
        return sum(map(len, loads(cluster))) == before

    until(round_of_all)
    first, second = sorted(map(set, loads(cluster)), key=len)[-REPLICAS:]
    assert first | second == set(MODELS)
    assert min(len(first), len(second)) >= len(MODELS) - MODELS_PER_REPLICA
    assert len(first & second) < len(MODELS) / 4  # two requests at once may load a model twice


def test_the_ingress_answers_what_is_about_no_model(client: httpx.Client) -> None:
    assert len(client.get("/models").json()["models"]) == len(MODELS)
    assert infer(client, "nope").json()["code"] == "unknown_model"
    assert client.get("/health/ready").status_code == 200


def test_errors_are_those_of_the_application(client: httpx.Client) -> None:
    response = client.post("/infer?model=colour-1", content=b"hello")
    assert (response.status_code, response.json()["code"]) == (400, "undecodable_image")
    assert response.headers["x-request-id"] == response.json()["request_id"]
    too_large = client.post("/infer?model=colour-1", content=bytes(21 * 2**20))
    assert (too_large.status_code, too_large.json()["code"]) == (413, "too_many_bytes")


def test_the_ingress_checks_the_key_before_it_reads_a_body(url: str) -> None:
    """The application of the ingress rejects the first two; the third has its key in the form, and is passed on."""
    port = httpx.URL(url).port or 0
    for address in ("/infer?model=colour-1", "/v2/models/colour-1/infer"):
        with connected(port) as connection:
            connection.sendall(post(RED, address)[: -len(RED)])
            assert read_answer(connection).status == 401
    files, form = {"image": ("red.png", RED)}, {"api_key": "user"}
    response = httpx.post(f"{url}/v1/vision/custom/colour-1", data=form, files=files, timeout=WAIT_S)
    assert response.status_code != 401
    assert httpx.post(f"{url}/infer", content=RED, headers={"X-API-Key": "no"}, timeout=WAIT_S).status_code == 403
