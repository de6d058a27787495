"""The application behind Serve's proxy answers as one process does."""

import httpx
import pytest

from tests.cluster.serve_cluster import ServeCluster
from tests.pictures_by_colour import colour_picture


@pytest.fixture(scope="module")
def url(cluster: ServeCluster, settings: dict[str, str]) -> str:
    cluster.deploy(settings)
    return cluster.base_url


def test_a_picture_gets_its_label(url: str) -> None:
    response = httpx.post(f"{url}/infer", content=colour_picture("red"), timeout=60)
    assert response.status_code == 200, response.text
    assert response.json()["predictions"][0]["label"] == "red"
