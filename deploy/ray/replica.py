"""The application of one process, in a process of Ray."""

import asyncio
import math
import os
from typing import TYPE_CHECKING

import ray

if TYPE_CHECKING:
    from fastapi import FastAPI

    from api.inference_api import InferenceAPI
    from api.settings import ApiSettings

_READY_POLL_S = 0.1


class Replica:
    """A deployment's class, with `serve.ingress()`, which runs the application and its lifespan."""

    _ready = False

    def __serve_build_asgi_app__(self) -> "FastAPI":
        self.api = self.create_api(read_settings())
        return self.api.app

    def create_api(self, settings: "ApiSettings") -> "InferenceAPI":
        from api.inference_api import InferenceAPI

        return InferenceAPI(settings, alone=True)

    async def check_health(self) -> None:
        """At the start, returns when the default model is loaded, so that a new replica gets no request before that.

        Raises RuntimeError if it cannot be loaded, which fails the deployment. Later it shows that the event loop runs.
        """
        while not self._ready:
            health = self.api.health
            if any(part.status == "failed" for part in health.parts().values()):
                raise RuntimeError(health.not_ready_reason())
            self._ready = health.not_ready_reason() is None
            await asyncio.sleep(_READY_POLL_S)  # nothing tells of a load's end


def read_settings() -> "ApiSettings":
    """The settings of this process, whose CPU budget is the replica's share from now on."""
    resources: dict[str, float] = ray.get_runtime_context().get_assigned_resources()
    os.environ["PYTHON_CPU_COUNT"] = str(max(1, math.ceil(resources.get("CPU", 1))))
    from api.environment import load_settings

    return load_settings()
