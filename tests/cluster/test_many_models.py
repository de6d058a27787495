"""A hundred models on three replicas that hold ten each."""

from pathlib import Path

import httpx
import pytest

from tests.cluster.serve_cluster import ServeCluster
from tests.e2e.services import own_models
from tests.pictures_by_colour import colour_picture
from tests.tiny_models import add_model, colour_graph


@pytest.fixture(scope="module")
def names(tmp_path_factory) -> list[str]: ...


def test_a(cluster: ServeCluster, tmp_path: Path, cache_dir: Path) -> None:
    names = ["colour", *(f"m{n}" for n in range(10))]
    for name in names:
        add_model(tmp_path, name, colour_graph())
    cluster.deploy_multiplexed(own_models(tmp_path, cache_dir), 4)
    for name in names:
        response = httpx.post(f"{cluster.base_url}/infer?model={name}", content=colour_picture("red"), timeout=60)
        print(response.status_code, response.headers, response.text)
        response = httpx.get(f"{cluster.base_url}/v2/models/{name}/ready", timeout=60)
        print(response.status_code, response.headers, response.text)
    response = httpx.post(f"{cluster.base_url}/infer", content=colour_picture("blue"), timeout=60)
    print(response.headers, response.text)
    print(httpx.get(f"{cluster.base_url}/models/m3", timeout=60).text[:300])
    assert 0
