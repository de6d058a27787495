"""An application of Ray Serve on this machine."""

import signal
import tempfile

import ray
from ray import serve
from ray.serve import Application

from benchmarks.peers.classifier import CORES, port


def run(application: Application, route_prefix: str) -> None:
    """Until SIGTERM or SIGINT."""
    ends = {signal.SIGTERM, signal.SIGINT}
    signal.pthread_sigmask(signal.SIG_BLOCK, ends)
    with tempfile.TemporaryDirectory(prefix="ray-") as folder:
        ray.init(num_cpus=CORES + 2, include_dashboard=False, log_to_driver=False, _temp_dir=folder)
        serve.start(http_options={"host": "127.0.0.1", "port": port()})
        serve.run(application, route_prefix=route_prefix)
        signal.sigwait(ends)
        ray.shutdown()
