# ruff: noqa: ARG002, N802 - the methods have the names and parameters of the protocol
"""The protocol over gRPC: `inference.GRPCInferenceService`, `grpc.health.v1` and reflection on one port."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from functools import partial

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection
from starlette.requests import Request
from tritonclient.grpc import service_pb2, service_pb2_grpc

from api.dialects.dialect import DialectContext
from api.dialects.open_inference import metadata, operations
from api.dialects.open_inference.faces import find_face
from api.dialects.open_inference.grpc_calls import SERVICE, Calls, Context, Message, parse_message
from api.dialects.open_inference.grpc_messages import message, parse_request, render_response
from api.dialects.open_inference.grpc_tls import credentials
from api.dialects.open_inference.inference import infer, log_answers
from api.problems import NotReadyError, Problem
from api.routes.deadline import requested_wait
from api.uploads.base64_pictures import off_loop
from loaders.model_errors import UnknownModelError

# The limit of a message: gRPC holds all of it in memory, beside its pictures.
_PICTURES_A_MESSAGE = 8
# Further calls are rejected: RESOURCE_EXHAUSTED. Open streams count, which wait most of the time.
_CALLS_PER_QUEUED_REQUEST, _LEAST_CALLS = 16, 256
_SERVICES = (SERVICE, "grpc.health.v1.Health", reflection.SERVICE_NAME)
_HEALTH_INTERVAL_S = 0.5


@asynccontextmanager
async def serve_grpc(context: DialectContext) -> AsyncIterator[int]:
    """Serves inside the block; yields the port. Raises RuntimeError if the port cannot be used."""
    settings, guards = context.settings, context.guards
    most = _PICTURES_A_MESSAGE * settings.max_upload_bytes
    options = [
        ("grpc.max_receive_message_length", min(most, 2**31 - 1)),
        ("grpc.max_send_message_length", -1),
        ("grpc.so_reuseport", int(settings.worker_count > 1)),
    ]
    stopping = asyncio.Event()
    open_to_all = dict.fromkeys(("ServerLive", "ServerReady"))
    admins = dict.fromkeys(("RepositoryModelLoad", "RepositoryModelUnload"), guards.admin)
    calls = Calls(context, {**open_to_all, **admins}, stopping)
    server = grpc.aio.server(
        interceptors=(calls,),
        options=options,
        maximum_concurrent_rpcs=max(_LEAST_CALLS, _CALLS_PER_QUEUED_REQUEST * settings.queue_limit),
    )
    service_pb2_grpc.add_GRPCInferenceServiceServicer_to_server(InferenceService(context, calls), server)
    health_pb2_grpc.add_HealthServicer_to_server(_HealthService(context, stopping), server)
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
        stopping.set()
        await server.stop(settings.request_timeout_ms / 1e3)


class InferenceService:
    """The methods of `service_pb2_grpc.GRPCInferenceServiceServicer`, called by `Calls`, which maps their errors."""

    def __init__(self, context: DialectContext, calls: Calls) -> None:
        self._context, self._calls = context, calls

    async def ServerLive(self, _: Message, call: Request) -> Message:
        return message("ServerLiveResponse", {"live": True})

    async def ServerReady(self, _: Message, call: Request) -> Message:
        return message("ServerReadyResponse", {"ready": self._context.health.not_ready_reason() is None})

    async def ServerMetadata(self, _: Message, call: Request) -> Message:
        return message("ServerMetadataResponse", metadata.SERVER)

    async def ModelReady(self, request: Message, call: Request) -> Message:
        try:
            operations.check_ready(self._context, request.name, request.version)
        except (NotReadyError, UnknownModelError):
            return message("ModelReadyResponse", {"ready": False})
        return message("ModelReadyResponse", {"ready": True})

    async def ModelMetadata(self, request: Message, call: Request) -> Message:
        found = await operations.describe_model(self._context, request.name, request.version)
        return message("ModelMetadataResponse", found)

    async def ModelConfig(self, request: Message, call: Request) -> Message:
        found = await operations.configuration(self._context, request.name, request.version)
        return message("ModelConfigResponse", {"config": found})

    async def ModelStatistics(self, request: Message, call: Request) -> Message:
        return message("ModelStatisticsResponse", operations.statistics(self._context, request.name, request.version))

    async def RepositoryIndex(self, request: Message, call: Request) -> Message:
        found = metadata.repository_index(self._context.engine(), ready_only=request.ready)
        return message("RepositoryIndexResponse", {"models": found})

    async def RepositoryModelLoad(self, request: Message, call: Request) -> Message:
        await operations.load_model(self._context, request.model_name, has_parameters=bool(request.parameters))
        return message("RepositoryModelLoadResponse", {})

    async def RepositoryModelUnload(self, request: Message, call: Request) -> Message:
        await operations.unload_model(self._context, request.model_name)
        return message("RepositoryModelUnloadResponse", {})

    async def ModelInfer(self, request: Message, call: Request) -> Message:
        return await self._infer(request, call)

    async def ModelStreamInfer(self, requests: AsyncIterator[bytes], context: Context) -> AsyncIterator[Message]:
        """The requests one after the other; the error of one does not end the stream."""
        async for data in requests:
            outcome = await self._calls.outcome(context, "ModelStreamInfer", partial(self._infer_serialized, data))
            if isinstance(outcome, Problem):
                yield service_pb2.ModelStreamInferResponse(error_message=outcome.detail)
            else:
                yield service_pb2.ModelStreamInferResponse(infer_response=outcome)

    async def SystemSharedMemoryStatus(self, _: Message, call: Request) -> Message:
        return message("SystemSharedMemoryStatusResponse", {})

    async def CudaSharedMemoryStatus(self, _: Message, call: Request) -> Message:
        return message("CudaSharedMemoryStatusResponse", {})

    async def SystemSharedMemoryUnregister(self, _: Message, call: Request) -> Message:
        return message("SystemSharedMemoryUnregisterResponse", {})

    async def CudaSharedMemoryUnregister(self, _: Message, call: Request) -> Message:
        return message("CudaSharedMemoryUnregisterResponse", {})

    async def SystemSharedMemoryRegister(self, _: Message, call: Request) -> Message:
        raise operations.no_shared_memory("system")

    async def CudaSharedMemoryRegister(self, _: Message, call: Request) -> Message:
        raise operations.no_shared_memory("cuda")

    async def TraceSetting(self, _: Message, call: Request) -> Message:
        raise operations.no_trace_settings()

    async def LogSettings(self, _: Message, call: Request) -> Message:
        raise operations.no_log_settings()

    async def _infer_serialized(self, data: bytes, call: Request) -> Message:
        return await self._infer(parse_message(service_pb2.ModelInferRequest.FromString, data), call)

    async def _infer(self, request: Message, call: Request) -> Message:
        """gRPC cancels it at the deadline of the call."""
        memory, size = self._context.memory, request.ByteSize()
        wait = requested_wait(call)
        face = find_face(self._context.engine(), request.model_name, request.model_version)
        numbers = 0 if request.raw_input_contents else size
        try:
            memory.take(size, held=size)
            async with self._context.admitted(call, face.choice):
                parsed = await off_loop(numbers, partial(parse_request, request))
                inference = await infer(self._context, face, parsed, wait.timeout_s)
        finally:
            memory.give_back(size)
        log_answers(call, inference)
        return render_response(request, face.name, inference)


class _HealthService:
    """`grpc.health.v1`."""

    def __init__(self, context: DialectContext, stopping: asyncio.Event) -> None:
        self._context, self._stopping = context, stopping

    async def Check(self, request: Message, context: Context) -> Message:
        if request.service not in ("", *_SERVICES):
            await context.abort(grpc.StatusCode.NOT_FOUND, f"unknown service {request.service[:100]!r}")
        return self._status(request.service)

    async def Watch(self, request: Message, _: Context) -> AsyncIterator[Message]:
        """Each change, until the server stops."""
        sent = None
        while not self._stopping.is_set():
            status = self._status(request.service)
            if status != sent:
                yield (sent := status)
            with suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), _HEALTH_INTERVAL_S)

    def _status(self, service: str) -> Message:
        known, ready = service in ("", *_SERVICES), self._context.health.not_ready_reason() is None
        states = health_pb2.HealthCheckResponse
        return states(status=(states.SERVING if ready else states.NOT_SERVING) if known else states.SERVICE_UNKNOWN)
