"""More and fewer replicas, new versions of a model and new settings under load: no request fails."""

from collections import Counter

import httpx
import pytest
from ray.serve.config import AutoscalingConfig

from deploy.ray.app import fovea
from tests.cluster.serve_cluster import ServeCluster, fixed
from tests.e2e.load import Load
from tests.e2e.services import KEY, WAIT_S, own_models
from tests.server import until
from tests.tiny_models import add_model, colour_graph

CLIENTS = 3
IN_A_ROW = 40  # answers, after which every replica has given one: each gets about half of them


@pytest.fixture(scope="module")
def two_versions(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    models = tmp_path_factory.mktemp("two_versions")
    for version in (1, 2):
        add_model(models, "colour", colour_graph(), version=version)
    add_model(models, "other", colour_graph())
    return own_models(models)


def judge(response: httpx.Response) -> str:
    """The model that answered, or what is wrong."""
    if not response.is_success:
        return f"{response.status_code}: {response.text}"
    answer = response.json()
    label = answer["predictions"][0]["label"]
    return f"{answer['model']['name']} {answer['model']['version']}" if label == "red" else label


def until_all_answer(load: Load, wanted: str) -> None:
    def many_in_a_row() -> bool:
        before = Counter(load.answers)
        until(lambda: load.answers.total() >= before.total() + IN_A_ROW)
        return set(load.answers - before) == {wanted}

    until(many_in_a_row)


def test_autoscaling_up_and_down_loses_nothing(cluster: ServeCluster, two_versions: dict[str, str]) -> None:
    scaling = AutoscalingConfig(
        min_replicas=1, max_replicas=2, target_ongoing_requests=1, upscale_delay_s=1, downscale_delay_s=2,
        look_back_period_s=2, metrics_interval_s=1,
    )  # fmt: skip
    options = fixed(two_versions, 1) | {"num_replicas": None, "autoscaling_config": scaling}
    cluster.run(fovea.options(**options).bind())
    with Load(cluster.base_url, 1, judge=judge) as light:
        with Load(cluster.base_url, CLIENTS, judge=judge) as heavy:
            until(lambda: cluster.replicas() == 2)
            until_all_answer(heavy, "colour 2")
        until(lambda: cluster.replicas() == 1)
        until_all_answer(light, "colour 2")
    assert set(light.answers + heavy.answers) == {"colour 2"}


def test_all_replicas_follow_a_swap(cluster: ServeCluster, two_versions: dict[str, str]) -> None:
    cluster.deploy(two_versions, replicas=2)
    with Load(cluster.base_url, CLIENTS, judge=judge) as load:
        for version in (1, 2):
            response = httpx.put(
                f"{cluster.base_url}/models/colour/active", json={"version": version}, headers=KEY, timeout=WAIT_S
            )
            assert response.status_code == 200, response.text
            until_all_answer(load, f"colour {version}")
    assert set(load.answers) <= {"colour 1", "colour 2"}


def test_a_rolling_update_loses_nothing(cluster: ServeCluster, two_versions: dict[str, str]) -> None:
    cluster.deploy(two_versions, replicas=2)
    with Load(cluster.base_url, CLIENTS, judge=judge) as load:
        cluster.deploy(two_versions | {"API_DEFAULT_MODEL": "other"}, replicas=2)
        until_all_answer(load, "other 1")
    assert set(load.answers) == {"colour 2", "other 1"}
