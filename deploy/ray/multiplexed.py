"""Many models on few replicas: an ingress, and replicas that load the models they are asked for.

The ingress passes a request that is about one model, by its address or as the default, on to a replica that has the
model, or to the one with the fewest. All others it answers itself, as one process does.
"""

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

from ray import serve
from ray.exceptions import RayActorError
from ray.serve.exceptions import BackPressureError
from ray.serve.handle import DeploymentHandle
from starlette.datastructures import QueryParams
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.headers import header
from api.inference_api import InferenceAPI
from api.problems import NotReadyError
from api.routes.context import GetEngine
from api.security.guards import Guards
from api.settings import ApiSettings
from api.uploads.body import ArrivingMemory, BodyLimits, RequestBody
from deploy.ray.replica import REQUEST_ID, Replica, read_settings, without_request_id
from engine.models.load_policy import LoadPolicy

_MIB = 2**20
_OF_A_MODEL = re.compile(r"/(?:hf|v2/models|v1/vision/custom)/([^/]+)")
_INFERENCE = ("/infer", "/infer/batch", "/explain")
_SEVERAL_PICTURES = ("/infer/batch", "/v2/")
_KEY_IN_FORM = "/v1/vision/"
_TENSOR_FACE = ".tensor"  # of a model under /v2
_CODINGS = ("gzip", "deflate")  # the application decodes them
_PLAIN = ("type", "asgi", "http_version", "method", "scheme", "path", "raw_path", "query_string", "root_path", "client")


class Ingress(Replica):
    """`models`: the deployment of ModelReplica."""

    def __init__(self, models: DeploymentHandle, models_per_replica: int) -> None:
        self._models, self._most = models, models_per_replica

    def create_api(self, settings: ApiSettings) -> InferenceAPI:
        return _RoutingAPI(_on_demand(settings, self._most), self._models)


class ModelReplica:
    """Runs the same application for the requests that an ingress passes on."""

    async def __init__(self, models_per_replica: int) -> None:  # type: ignore[misc]  # Serve awaits it
        async def use(name: str) -> str:
            """The application loads the model; Serve notes that this replica has it, as one of the last N."""
            return name

        self._use = serve.multiplexed(use, max_num_models_per_replica=models_per_replica)
        settings = _on_demand(read_settings(), models_per_replica)
        self._app = InferenceAPI(settings.model_copy(update={"cors_origins": ()}), alone=True).app
        self._lifespan = AsyncExitStack()
        await self._lifespan.enter_async_context(self._app.router.lifespan_context(self._app))

    async def __del__(self) -> None:
        await self._lifespan.aclose()

    async def answer(self, scope: Scope, body: bytes) -> AsyncIterator[Message]:
        """The messages of the response, as they come."""
        await self._use(serve.get_multiplexed_model_id())
        messages = asyncio.Queue[Message | None]()
        requests = [{"type": "http.request", "body": body}]

        async def receive() -> Message:
            return requests.pop() if requests else await asyncio.Future()  # Serve cancels what the client has left

        task = asyncio.create_task(self._app({**scope, "state": {}}, receive, messages.put))
        task.add_done_callback(lambda _: messages.put_nowait(None))
        try:
            while message := await messages.get():
                yield message
            await task
        finally:
            task.cancel()


class _RoutingAPI(InferenceAPI):
    """Passes requests about one model on, inside of the middleware for log, metrics and errors."""

    def __init__(self, settings: ApiSettings, models: DeploymentHandle) -> None:
        self._models = models
        super().__init__(settings, alone=True)

    def _add_middleware(self) -> None:
        self.app.add_middleware(_PassOn, settings=self.settings, engine=self._running_engine, models=self._models)
        super()._add_middleware()


class _PassOn:
    """Pure ASGI middleware. Reads the whole body after a check of the key, bounded as the application does."""

    def __init__(self, app: ASGIApp, settings: ApiSettings, engine: GetEngine, models: DeploymentHandle) -> None:
        self._app, self._settings, self._engine, self._models = app, settings, engine, models
        self._guards = Guards(settings.model_copy(update={"rate_limit": ""}))  # the application counts
        self._memory = ArrivingMemory(settings.max_arriving_mb * _MIB)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = scope["path"].removeprefix(scope.get("root_path", "")) if scope["type"] == "http" else ""
        pictures = self._settings.max_batch_images if path.startswith(_SEVERAL_PICTURES) else 1
        most = pictures * self._settings.max_upload_bytes * 4 // 3 + _MIB  # base64, and what is around a picture
        name = self._model(path, scope) if path else None
        if name is None or not await self._may_read(path, scope, most):
            await self._app(scope, receive, send)
            return
        limits = BodyLimits(most, self._settings.max_upload_bytes, self._settings.body_timeout_s)
        body = RequestBody(Request(scope, receive), limits, self._memory, _CODINGS)
        try:
            await self._pass_on(name, scope, await body.read(), send)
        finally:
            body.release()

    async def _may_read(self, path: str, scope: Scope, most: int) -> bool:
        """False for what the application rejects before it reads the body: too large, or without a key."""
        if int(header(scope, b"content-length") or 0) > most:
            return False
        return path.startswith(_KEY_IN_FORM) or await self._guards.has_key(Request(scope))

    def _model(self, path: str, scope: Scope) -> str | None:
        """The name of the requested model; None if the address names none, or the model does not exist."""
        models = self._engine().models
        if found := _OF_A_MODEL.match(path):
            name = found[1] if found[1] in models.catalog else found[1].removesuffix(_TENSOR_FACE)
        elif path in _INFERENCE:
            name = QueryParams(scope["query_string"]).get("model") or models.default
        else:
            return None
        return name if name in models.catalog else None

    async def _pass_on(self, name: str, scope: Scope, body: bytes, send: Send) -> None:
        plain = {key: scope[key] for key in _PLAIN if key in scope}
        others = [pair for pair in scope["headers"] if pair[0] != REQUEST_ID]
        plain["headers"] = [*others, (REQUEST_ID, scope["state"]["request_id"].encode())]
        handle = self._models.options(stream=True, multiplexed_model_id=name)
        try:
            async for message in handle.answer.remote(plain, body):
                await send(without_request_id(message))
        except BackPressureError:
            raise NotReadyError("all replicas have as many requests as they take") from None
        except RayActorError:
            raise NotReadyError("the replica that worked on the request has ended") from None


def _on_demand(settings: ApiSettings, models_per_replica: int) -> ApiSettings:
    return settings.model_copy(update={"load": LoadPolicy.ON_DEMAND, "max_loaded_models": models_per_replica})
