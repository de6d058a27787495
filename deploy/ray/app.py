"""Fovea as an application of Ray Serve: `serve run deploy.ray.app:app`, or the file serve.yaml."""

from typing import Any

from pydantic import BaseModel, NonNegativeInt
from ray import serve
from ray.serve import Application
from ray.serve.config import AutoscalingConfig, BackpressureConfig

from deploy.ray.multiplexed import Ingress, ModelReplica
from deploy.ray.replica import Replica

# serve.yaml, or the options of a deployment, change each of these.
_OPTIONS: dict[str, Any] = {
    "ray_actor_options": {"num_cpus": 1},
    "autoscaling_config": AutoscalingConfig(min_replicas=1, max_replicas=8, target_ongoing_requests=4),
    # More than the service's own limit of 64 waiting requests for each model, which answers with a problem document.
    "max_ongoing_requests": 256,
    "max_queued_requests": 256,
    "backpressure_config": BackpressureConfig(status_code=503, retry_after_s=1),
    "health_check_period_s": 5,
    "graceful_shutdown_timeout_s": 40,  # more than API_REQUEST_TIMEOUT_MS
}

fovea = serve.deployment(name="fovea", **_OPTIONS)(serve.ingress()(Replica))
ingress = serve.deployment(name="fovea", **_OPTIONS)(serve.ingress()(Ingress))
models = serve.deployment(name="models", **_OPTIONS)(ModelReplica)


class Arguments(BaseModel):
    """`models_per_replica`: models that a replica holds at most; 0: each replica is a whole service."""

    models_per_replica: NonNegativeInt = 0


def app(arguments: Arguments) -> Application:
    count = arguments.models_per_replica
    return ingress.bind(models.bind(count), count) if count else fovea.bind()
