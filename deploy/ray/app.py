"""Fovea as an application of Ray Serve: `serve run deploy.ray.app:app`, or the file serve.yaml."""

import asyncio
import math
import os
from typing import TYPE_CHECKING

import ray
from ray import serve
from ray.serve.config import AutoscalingConfig, BackpressureConfig

if TYPE_CHECKING:
    from fastapi import FastAPI


_READY_POLL_S = 0.1


class Replica:
    """The application of one process, with its lifespan, in a process of Ray."""

    _ready = False

    def __serve_build_asgi_app__(self) -> "FastAPI":
        os.environ["PYTHON_CPU_COUNT"] = str(_assigned_cores())
        from api.environment import load_settings
        from api.inference_api import InferenceAPI

        self._api = InferenceAPI(load_settings(), alone=True)
        return self._api.app

    async def check_health(self) -> None:
        """At the start, returns when the default model is loaded, so that a new replica gets no request before that.

        Raises RuntimeError if it cannot be loaded, which fails the deployment. Later it shows that the event loop runs.
        """
        while not self._ready:
            parts = self._api.health.parts().values()
            if any(part.status == "failed" for part in parts):
                raise RuntimeError(self._api.health.not_ready_reason())
            self._ready = self._api.health.not_ready_reason() is None
            await asyncio.sleep(_READY_POLL_S)  # nothing tells of a load's end


def _assigned_cores() -> int:
    """The CPU share of this replica in whole cores, at least 1."""
    resources: dict[str, float] = ray.get_runtime_context().get_assigned_resources()
    return max(1, math.ceil(resources.get("CPU", 1)))


fovea = serve.deployment(
    name="fovea",
    ray_actor_options={"num_cpus": 1},
    autoscaling_config=AutoscalingConfig(min_replicas=1, max_replicas=8, target_ongoing_requests=4),
    # More than the service's own limit of 64 waiting requests for each model, which answers with a problem document.
    max_ongoing_requests=256,
    max_queued_requests=256,
    backpressure_config=BackpressureConfig(status_code=503, retry_after_s=1),
    health_check_period_s=5,
    graceful_shutdown_timeout_s=40,  # more than API_REQUEST_TIMEOUT_MS
)(serve.ingress()(Replica))

app = fovea.bind()
