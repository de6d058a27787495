"""A Ray cluster whose nodes are processes of this machine, with Serve and the application on it."""

import os
from collections.abc import Mapping
from contextlib import ExitStack, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx
import psutil
import ray
from ray import serve
from ray.cluster_utils import Cluster

from deploy.ray.app import fovea, ingress, models
from tests.e2e.services import free_port
from tests.paths import ROOT
from tests.process import BUGS, UNTUNED
from tests.server import until

HA_PROXY = os.environ.get("RAY_SERVE_ENABLE_HA_PROXY") == "1"
NODES = 2  # beside the head, which holds no replicas
CORES_A_NODE = 2

_MIB = 1024 * 1024
_NODE: dict[str, Any] = {"include_dashboard": False, "object_store_memory": 80 * _MIB}
_START_S = 120.0


def environment(folder: Path) -> dict[str, str]:
    """Variables that the processes of the cluster inherit. `folder` is for their files."""
    return {
        "RAY_TMPDIR": str(folder),
        "PYTHONPATH": str(ROOT),
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_SERVE_PROXY_READY_CHECK_TIMEOUT_S": "60",  # a busy machine
        "RAY_SERVE_DIRECT_INGRESS_MIN_DRAINING_PERIOD_S": "2",  # of a replica behind HAProxy, 30 otherwise
        "RAY_SERVE_HAPROXY_CONFIG_FILE_LOC": str(folder / "haproxy.cfg"),
        "RAY_SERVE_HAPROXY_SOCKET_PATH": str(folder / "admin.sock"),
        "RAY_SERVE_HAPROXY_METRICS_SOCKET_PATH": str(folder / "metrics.sock"),
        "RAY_SERVE_HAPROXY_SERVER_STATE_BASE": str(folder),
        "RAY_SERVE_HAPROXY_SERVER_STATE_FILE": str(folder / "server-state"),
        "RAY_SERVE_HAPROXY_METRICS_PORT": str(free_port()),
        "RAY_SERVE_HAPROXY_STATS_PORT": str(free_port()),
    }


class ServeCluster:
    """`base_url`: of Serve's proxy, on the head. `nodes`: those that hold replicas, as `ray.cluster_utils` has them."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._stack = ExitStack()
        self.base_url = f"http://127.0.0.1:{free_port()}"

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            head = _NODE | {"num_cpus": 0, "dashboard_port": free_port()}
            self.cluster = Cluster(initialize_head=True, head_node_args=head)
            stack.callback(self.cluster.shutdown)
            self.nodes = [self.add_node() for _ in range(NODES)]
            ray.init(address=self.cluster.address, log_to_driver=False, logging_level="warning")
            stack.callback(ray.shutdown)
            url = httpx.URL(self.base_url)
            serve.start(http_options={"host": url.host, "port": url.port}, proxy_location="HeadOnly")
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def add_node(self) -> Any:  # noqa: ANN401 - ray's Node
        return self.cluster.add_node(**_NODE, num_cpus=CORES_A_NODE)

    def deploy(self, settings: Mapping[str, str], *, replicas: int = 2, cores: float = 1, **options: object) -> None:
        """Runs the application in place of the one before, and waits until the proxy has a ready replica."""
        self.run(fovea.options(**(fixed(settings, replicas, cores) | options)).bind())

    def deploy_multiplexed(self, settings: Mapping[str, str], models_per_replica: int, *, replicas: int = 2) -> None:
        """As `deploy`: an ingress, and `replicas` that hold so many models each."""
        downstream = models.options(**fixed(settings, replicas)).bind(models_per_replica)
        self.run(ingress.options(**fixed(settings, 1)).bind(downstream, models_per_replica))

    def run(self, application: serve.Application) -> None:
        serve.run(application, name="fovea")
        until(self.is_ready, _START_S)

    def kill_node(self, node: Any) -> None:  # noqa: ANN401 - ray's Node
        """Kills all processes of a node at once, as the loss of its machine does."""
        [raylet] = node.all_processes["raylet"]
        tree = psutil.Process(raylet.process.pid)
        for process in [*tree.children(recursive=True), tree]:
            process.kill()
        self.nodes.remove(node)

    def replicas(self) -> int:
        """The processes of replicas on all nodes, ready or not."""
        return sum(len(replicas(node)) for node in self.nodes)

    @property
    def port(self) -> int:
        return httpx.URL(self.base_url).port or 0

    def bugs(self) -> list[str]:
        """Lines that only a bug writes, of all replicas."""
        return [line for log in self.logs() for line in log.splitlines() if BUGS.search(line)]

    def logs(self) -> list[str]:
        """What each process of the cluster has logged."""
        return [log.read_text(errors="replace") for log in self._folder.glob("ray/session_[0-9]*/logs/worker-*.err")]

    def is_ready(self) -> bool:
        with suppress(httpx.TransportError):
            return httpx.get(f"{self.base_url}/health/ready", timeout=60).status_code == 200
        return False


def fixed(settings: Mapping[str, str], replicas: int, cores: float = 1) -> dict[str, object]:
    """Options of a deployment that is not autoscaled."""
    actor = {"num_cpus": cores, "runtime_env": {"env_vars": {**UNTUNED, **settings}}}
    return {"num_replicas": replicas, "autoscaling_config": None, "ray_actor_options": actor}


def replicas(node: Any) -> list[psutil.Process]:  # noqa: ANN401 - ray's Node
    """The processes of the replicas on a node of `ServeCluster.nodes`."""
    [raylet] = node.all_processes["raylet"]
    return [child for child in psutil.Process(raylet.process.pid).children() if _is_replica(child)]


def _is_replica(process: psutil.Process) -> bool:
    """Ray names its workers by their actor."""
    with suppress(psutil.Error):
        return bool(process.cmdline()[:1]) and process.cmdline()[0].startswith("ray::ServeReplica:")
    return False
