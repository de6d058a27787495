"""Fovea on Ray Serve: one replica for each core. Not a peer; its environment is .venv-ray."""

from benchmarks.peers import on_ray
from benchmarks.peers.classifier import CORES
from deploy.ray.app import fovea

if __name__ == "__main__":
    on_ray.run(fovea.options(num_replicas=CORES, autoscaling_config=None).bind(), "/")
