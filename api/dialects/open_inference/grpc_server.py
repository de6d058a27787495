# ruff: noqa: N802 - the methods have the names of the protocol
"""The protocol over gRPC: `inference.GRPCInferenceService`, `grpc.health.v1` and reflection on one port."""

import math
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection
from starlette.requests import Request
from tritonclient.grpc import service_pb2, service_pb2_grpc

from api.dialects.dialect import DialectContext
from api.dialects.open_inference import metadata, operations
from api.dialects.open_inference.faces import find_face
from api.dialects.open_inference.grpc_calls import Calls, Context
from api.dialects.open_inference.grpc_messages import Message, message, parse_request, render_response
from api.dialects.open_inference.grpc_tls import credentials
from api.dialects.open_inference.inference import infer, log_answers
from api.dialects.open_inference.metadata import Json
from api.problems import NotReadyError, NotSupportedError, Problem
from api.security.guards import Guard
from loaders.model_errors import UnknownModelError

# A message is in memory before its key is checked, so it is smaller than a request over HTTP may be.
_PICTURES_A_MESSAGE = 8
_SERVICES = ("inference.GRPCInferenceService", "grpc.health.v1.Health", reflection.SERVICE_NAME)


@asynccontextmanager
async def serve_grpc(context: DialectContext) -> AsyncIterator[int]:
    """Serves inside the block; yields the port. Raises RuntimeError if the port cannot be used."""
    settings = context.settings
    most = _PICTURES_A_MESSAGE * settings.max_upload_bytes
    options = [
        ("grpc.max_receive_message_length", min(most, 2**31 - 1)),
        ("grpc.max_send_message_length", -1),
        ("grpc.so_reuseport", int(settings.worker_count > 1)),
    ]
    server = grpc.aio.server(options=options)
    service_pb2_grpc.add_GRPCInferenceServiceServicer_to_server(InferenceService(context), server)
    health_pb2_grpc.add_HealthServicer_to_server(_HealthService(context), server)
    reflection.enable_server_reflection(_SERVICES, server)
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    address = f"{host}:{settings.grpc_port}"
    try:
        if settings.tls_cert and settings.tls_key:
            port = server.add_secure_port(address, credentials(settings.tls_cert, settings.tls_key))
        else:
            port = server.add_insecure_port(address)
    except RuntimeError as error:
        raise RuntimeError(f"API_GRPC_PORT={settings.grpc_port}: cannot listen on {address}: {error}") from None
    await server.start()
    try:
        yield port
    finally:
        await server.stop(settings.request_timeout_ms / 1e3)


class InferenceService:
    """The methods of `service_pb2_grpc.GRPCInferenceServiceServicer`."""

    def __init__(self, context: DialectContext) -> None:
        self._context = context
        self._calls = Calls(context)
        self._user, self._admin = context.guards.user, context.guards.admin

    async def ServerLive(self, _: Message, context: Context) -> Message:
        return await self._answer(context, "ServerLive", None, {"live": True})

    async def ServerReady(self, _: Message, context: Context) -> Message:
        ready = self._context.health.not_ready_reason() is None
        return await self._answer(context, "ServerReady", None, {"ready": ready})

    async def ServerMetadata(self, _: Message, context: Context) -> Message:
        return await self._answer(context, "ServerMetadata", self._user, metadata.SERVER)

    async def ModelReady(self, request: Message, context: Context) -> Message:
        async def ready(_: Request) -> Message:
            try:
                operations.check_ready(self._context, request.name, request.version)
            except (NotReadyError, UnknownModelError):
                return message("ModelReadyResponse", {"ready": False})
            return message("ModelReadyResponse", {"ready": True})

        return await self._calls.run(context, "ModelReady", self._user, ready)

    async def ModelMetadata(self, request: Message, context: Context) -> Message:
        async def describe(_: Request) -> Message:
            found = await operations.describe_model(self._context, request.name, request.version)
            return message("ModelMetadataResponse", found)

        return await self._calls.run(context, "ModelMetadata", self._user, describe)

    async def ModelConfig(self, request: Message, context: Context) -> Message:
        async def configure(_: Request) -> Message:
            found = await operations.configuration(self._context, request.name, request.version)
            return message("ModelConfigResponse", {"config": found})

        return await self._calls.run(context, "ModelConfig", self._user, configure)

    async def ModelStatistics(self, request: Message, context: Context) -> Message:
        async def count(_: Request) -> Message:
            found = operations.statistics(self._context, request.name, request.version)
            return message("ModelStatisticsResponse", found)

        return await self._calls.run(context, "ModelStatistics", self._user, count)

    async def RepositoryIndex(self, request: Message, context: Context) -> Message:
        async def index(_: Request) -> Message:
            found = metadata.repository_index(self._context.engine(), ready_only=request.ready)
            return message("RepositoryIndexResponse", {"models": found})

        return await self._calls.run(context, "RepositoryIndex", self._user, index)

    async def RepositoryModelLoad(self, request: Message, context: Context) -> Message:
        async def load(_: Request) -> Message:
            await operations.load_model(self._context, request.model_name, has_parameters=bool(request.parameters))
            return message("RepositoryModelLoadResponse", {})

        return await self._calls.run(context, "RepositoryModelLoad", self._admin, load)

    async def RepositoryModelUnload(self, request: Message, context: Context) -> Message:
        async def unload(_: Request) -> Message:
            await operations.unload_model(self._context, request.model_name)
            return message("RepositoryModelUnloadResponse", {})

        return await self._calls.run(context, "RepositoryModelUnload", self._admin, unload)

    async def ModelInfer(self, request: Message, context: Context) -> Message:
        return await self._calls.run(context, "ModelInfer", self._user, partial(self._infer, request))

    async def ModelStreamInfer(self, requests: AsyncIterator[Message], context: Context) -> AsyncIterator[Message]:
        """The requests one after the other; the error of one does not end the stream."""
        async for request in requests:
            work = partial(self._infer, request)
            outcome = await self._calls.outcome(context, "ModelStreamInfer", self._user, work)
            if isinstance(outcome, Problem):
                yield service_pb2.ModelStreamInferResponse(error_message=outcome.detail)
            else:
                yield service_pb2.ModelStreamInferResponse(infer_response=outcome)

    async def SystemSharedMemoryStatus(self, _: Message, context: Context) -> Message:
        return await self._answer(context, "SystemSharedMemoryStatus", self._user, {})

    async def CudaSharedMemoryStatus(self, _: Message, context: Context) -> Message:
        return await self._answer(context, "CudaSharedMemoryStatus", self._user, {})

    async def SystemSharedMemoryUnregister(self, _: Message, context: Context) -> Message:
        return await self._answer(context, "SystemSharedMemoryUnregister", self._user, {})

    async def CudaSharedMemoryUnregister(self, _: Message, context: Context) -> Message:
        return await self._answer(context, "CudaSharedMemoryUnregister", self._user, {})

    async def SystemSharedMemoryRegister(self, _: Message, context: Context) -> Message:
        return await self._reject(context, "SystemSharedMemoryRegister", operations.no_shared_memory("system"))

    async def CudaSharedMemoryRegister(self, _: Message, context: Context) -> Message:
        return await self._reject(context, "CudaSharedMemoryRegister", operations.no_shared_memory("cuda"))

    async def TraceSetting(self, _: Message, context: Context) -> Message:
        return await self._reject(context, "TraceSetting", operations.no_trace_settings())

    async def LogSettings(self, _: Message, context: Context) -> Message:
        return await self._reject(context, "LogSettings", operations.no_log_settings())

    async def _infer(self, request: Message, call: Request) -> Message:
        """gRPC cancels it at the deadline of the call."""
        memory, size = self._context.memory, request.ByteSize()
        face = find_face(self._context.engine(), request.model_name, request.model_version)
        try:
            memory.take(size, held=size)
            async with self._context.admitted(call, face.choice):
                inference = await infer(self._context, face, parse_request(request), math.inf)
        finally:
            memory.give_back(size)
        log_answers(call, inference)
        return render_response(request, face.name, inference)

    async def _answer(self, context: Context, method: str, guard: Guard | None, content: Json) -> Message:
        async def answer(_: Request) -> Message:
            return message(f"{method}Response", content)

        return await self._calls.run(context, method, guard, answer)

    async def _reject(self, context: Context, method: str, error: NotSupportedError) -> Message:
        async def reject(_: Request) -> Message:
            raise error

        return await self._calls.run(context, method, self._user, reject)


class _HealthService:
    """`grpc.health.v1` without Watch, since orchestrators poll Check."""

    def __init__(self, context: DialectContext) -> None:
        self._context = context

    async def Check(self, request: Message, context: Context) -> Message:
        if request.service not in ("", *_SERVICES):
            await context.abort(grpc.StatusCode.NOT_FOUND, f"unknown service {request.service[:100]!r}")
        ready = self._context.health.not_ready_reason() is None
        state = "SERVING" if ready else "NOT_SERVING"
        return health_pb2.HealthCheckResponse(status=health_pb2.HealthCheckResponse.ServingStatus.Value(state))

    async def Watch(self, _: Message, context: Context) -> None:
        await context.abort(grpc.StatusCode.UNIMPLEMENTED, "use Check")
