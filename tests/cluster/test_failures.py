"""A node that dies under load: what was in flight there may fail, nothing else does, and no answer is wrong."""

from collections import Counter

from tests.cluster.serve_cluster import ServeCluster, replicas
from tests.e2e.load import Load
from tests.server import until

CLIENTS = 3
REPLICAS = 2
LOST = {"500", "502", "503", "504", "RemoteProtocolError", "ReadError"}  # what a client sees of a lost request


def test_a_killed_node_costs_what_was_in_flight_there(cluster: ServeCluster, settings: dict[str, str]) -> None:
    cluster.deploy(settings, replicas=REPLICAS)
    node = next(node for node in cluster.nodes if replicas(node))
    try:
        with Load(cluster.base_url, CLIENTS) as load:
            until(lambda: load.answers["red"] >= 50)
            cluster.kill_node(node)
            until(lambda: cluster.replicas() == REPLICAS)
            recovered = Counter(load.answers)
            until(lambda: load.answers["red"] >= recovered["red"] + 100)
            assert set(load.answers - recovered) == {"red"}
    finally:
        cluster.nodes.append(cluster.add_node())
    assert set(load.answers) <= LOST | {"red"}
    assert load.answers.total() - load.answers["red"] <= CLIENTS, load.answers
