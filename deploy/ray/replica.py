"""The application of one process, in a process of Ray."""

import asyncio
import math
import os

import ray
from fastapi import FastAPI
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.environment import load_settings
from api.inference_api import InferenceAPI
from api.settings import ApiSettings

REQUEST_ID = b"x-request-id"
_READY_POLL_S = 0.1


class Replica:
    """A deployment's class, with `serve.ingress()`, which runs the application and its lifespan."""

    _ready = False

    def __serve_build_asgi_app__(self) -> FastAPI:
        self.api = self.create_api(read_settings())
        self.api.app.add_middleware(OneRequestId)
        return self.api.app

    def create_api(self, settings: ApiSettings) -> InferenceAPI:
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
            await asyncio.sleep(_READY_POLL_S)  # the engine has no event for a completed load


class OneRequestId:
    """Pure ASGI middleware. Leaves the header X-Request-ID to Serve, which adds it to every response."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_without(message: Message) -> None:
            await send(without_request_id(message))

        await self._app(scope, receive, send_without)


def without_request_id(message: Message) -> Message:
    if message["type"] != "http.response.start":
        return message
    return {**message, "headers": [pair for pair in message["headers"] if pair[0] != REQUEST_ID]}


def read_settings() -> ApiSettings:
    """The settings of this process, whose CPU budget is the replica's share from now on."""
    resources: dict[str, float] = ray.get_runtime_context().get_assigned_resources()
    os.environ["PYTHON_CPU_COUNT"] = str(max(1, math.ceil(resources.get("CPU", 1))))
    return load_settings()
