"""The routes under /v2."""

from functools import partial
from typing import Literal

import orjson
from fastapi import APIRouter, Depends
from starlette.requests import Request
from starlette.responses import Response

from api.accept import accepted_type
from api.dialects.dialect import DialectContext
from api.dialects.open_inference import codec, metadata, operations
from api.dialects.open_inference.body import compressed, read_body
from api.dialects.open_inference.faces import IMAGE, Face, find_face, load
from api.dialects.open_inference.inference import Inference, infer, log_answers
from api.dialects.open_inference.messages import (
    InferRequest,
    Json,
    header_length,
    parse_json,
    parse_request,
    render_response,
)
from api.headers import header
from api.problems import BodyTooLargeError, InvalidRequestError, NotReadyError
from api.routes.deadline import requested_wait
from api.uploads.base64_pictures import decode_picture, off_loop
from api.uploads.body import BodyLimits
from api.uploads.disconnect import CancelOnDisconnect
from api.uploads.json_body import MAX_JSON_BYTES
from api.uploads.pictures import json_limits
from utils.time_utils import server_timing

_HEADER = "Inference-Header-Content-Length"
_JSON, _BINARY = "application/json", "application/octet-stream"
_LENGTH_BYTES = 4  # of each element of a BYTES tensor


def v2_router(context: DialectContext) -> APIRouter:
    router = APIRouter(prefix="/v2", include_in_schema=False)
    context.error_members[router.prefix] = lambda problem: {"error": problem.detail}
    _add_health_routes(router, context)
    _add_server_routes(router, context)
    _add_model_routes(router, context)
    _add_infer_route(router, context)
    _add_repository_routes(router, context)
    _add_absent_routes(router, context)
    return router


def _add_health_routes(router: APIRouter, context: DialectContext) -> None:
    @router.get("/health/live")
    async def v2_live() -> Json:
        return {"live": True}

    @router.get("/health/ready")
    async def v2_ready() -> Json:
        if reason := context.health.not_ready_reason():
            raise NotReadyError(reason)
        return {"ready": True}


def _add_server_routes(router: APIRouter, context: DialectContext) -> None:
    users = [Depends(context.guards.user)]

    @router.get("", dependencies=users)
    async def v2_server() -> Json:
        return metadata.SERVER

    @router.get("/models/stats", dependencies=users)
    async def v2_all_statistics() -> Json:
        return operations.statistics(context, None, None)


def _add_model_routes(router: APIRouter, context: DialectContext) -> None:
    users = [Depends(context.guards.user)]

    @router.get("/models/{name}", dependencies=users)
    @router.get("/models/{name}/versions/{version}", dependencies=users)
    async def v2_model(name: str, version: str | None = None) -> Json:
        return await operations.describe_model(context, name, version)

    @router.get("/models/{name}/ready", dependencies=users)
    @router.get("/models/{name}/versions/{version}/ready", dependencies=users)
    async def v2_model_ready(name: str, version: str | None = None) -> Json:
        operations.check_ready(context, name, version)
        return {"name": name, "ready": True}

    @router.get("/models/{name}/config", dependencies=users)
    @router.get("/models/{name}/versions/{version}/config", dependencies=users)
    async def v2_config(name: str, version: str | None = None) -> Json:
        return await operations.configuration(context, name, version)

    @router.get("/models/{name}/stats", dependencies=users)
    @router.get("/models/{name}/versions/{version}/stats", dependencies=users)
    async def v2_statistics(name: str, version: str | None = None) -> Json:
        return operations.statistics(context, name, version)


def _add_infer_route(router: APIRouter, context: DialectContext) -> None:
    settings = context.settings
    json_limit = json_limits(context.upload_limits, 1).max_bytes
    most = settings.max_batch_images * (settings.max_upload_bytes + _LENGTH_BYTES) + json_limit
    limits = BodyLimits(most, most, settings.body_timeout_s)

    @router.post("/models/{name}/infer", dependencies=[Depends(context.guards.user)])
    @router.post("/models/{name}/versions/{version}/infer", dependencies=[Depends(context.guards.user)])
    async def v2_infer(request: Request, name: str, version: str | None = None) -> Response:
        wait = requested_wait(request)
        face = find_face(context.engine(), name, version)
        async with context.admitted(request, face.choice), read_body(request, limits, context.memory) as body:
            parsed = await parse(request, face, body)
            async with CancelOnDisconnect(request.receive):
                inference = await infer(context, face, parsed, wait.timeout_s)
        return await _respond(request, face, parsed, inference)

    async def parse(request: Request, face: Face, body: memoryview) -> InferRequest:
        json_bytes = header_length(header(request.scope, _HEADER.lower().encode()))
        if json_bytes == 0:
            return await _raw_request(context, request, face, body)
        if len(body[:json_bytes]) > json_limit:
            raise BodyTooLargeError(json_limit)
        read_text = partial(decode_picture, max_bytes=settings.max_upload_bytes)
        return await off_loop(len(body[:json_bytes]), partial(parse_request, body, json_bytes, read_text))


def _add_repository_routes(router: APIRouter, context: DialectContext) -> None:
    admins = [Depends(context.guards.admin)]

    @router.post("/repository/index", dependencies=[Depends(context.guards.user)])
    async def v2_index(request: Request) -> Response:
        ready = (await _read_json(request, context)).get("ready", False)
        if not isinstance(ready, bool):
            raise InvalidRequestError("'ready' must be true or false")
        return Response(orjson.dumps(metadata.repository_index(context.engine(), ready_only=ready)), media_type=_JSON)

    @router.post("/repository/models/{name}/load", dependencies=admins)
    async def v2_load(request: Request, name: str) -> Response:
        has_parameters = bool((await _read_json(request, context)).get("parameters"))
        await operations.load_model(context, name, has_parameters=has_parameters)
        return Response()

    @router.post("/repository/models/{name}/unload", dependencies=admins)
    async def v2_unload(request: Request, name: str) -> Response:
        await _read_json(request, context)
        await operations.unload_model(context, name)
        return Response()


def _add_absent_routes(router: APIRouter, context: DialectContext) -> None:
    """Parts of Triton that this service does not have. A status is empty, anything else is an error."""
    users = [Depends(context.guards.user)]

    @router.get("/{kind}sharedmemory/status", dependencies=users)
    @router.get("/{kind}sharedmemory/region/{region}/status", dependencies=users)
    async def v2_shared_memory_status(kind: Literal["system", "cuda"]) -> list[Json]:  # noqa: ARG001 - part of the path
        return []

    @router.post("/{kind}sharedmemory/unregister", dependencies=users)
    @router.post("/{kind}sharedmemory/region/{region}/unregister", dependencies=users)
    async def v2_unregister_shared_memory(kind: Literal["system", "cuda"]) -> Response:  # noqa: ARG001 - part of the path
        return Response()

    @router.post("/{kind}sharedmemory/region/{region}/register", dependencies=users)
    async def v2_register_shared_memory(kind: Literal["system", "cuda"]) -> Response:
        raise operations.no_shared_memory(kind)

    @router.api_route("/logging", methods=["GET", "POST"], dependencies=users)
    async def v2_logging() -> Response:
        raise operations.no_log_settings()

    @router.api_route("/trace/setting", methods=["GET", "POST"], dependencies=users)
    @router.api_route("/models/{name}/trace/setting", methods=["GET", "POST"], dependencies=users)
    async def v2_trace() -> Response:
        raise operations.no_trace_settings()


async def _read_json(request: Request, context: DialectContext) -> Json:
    """A small JSON object; an empty body counts as one without members."""
    limits = BodyLimits(MAX_JSON_BYTES, MAX_JSON_BYTES, context.settings.body_timeout_s)
    async with read_body(request, limits, context.memory) as body:
        return parse_json(body) if body else {}


async def _raw_request(context: DialectContext, request: Request, face: Face, body: memoryview) -> InferRequest:
    """The body is the only input, of one picture or tensor; all outputs are binary unless the client accepts JSON."""
    binary = accepted_type(request.scope, (_BINARY, _JSON)) == _BINARY
    if not face.takes_tensors:
        return InferRequest([codec.NamedTensor(IMAGE, codec.BYTES, codec.objects([bytes(body)], (1,)))], binary=binary)
    infos = face.inputs(await load(context.engine(), face))
    sides = infos[0].shape[1:]
    if len(infos) != 1 or None in sides:
        raise InvalidRequestError(
            f"model '{face.name}' cannot take a raw body: its inputs are not one of a fixed shape"
        )
    shape = (1, *(side or 0 for side in sides))
    return InferRequest([codec.from_bytes(infos[0].name, codec.DATATYPES[infos[0].dtype], shape, body)], binary=binary)


async def _respond(request: Request, face: Face, parsed: InferRequest, inference: Inference) -> Response:
    def render() -> Response:
        body, json_bytes = render_response(parsed, face.name, inference.answers[0].model.version, inference.outputs)
        headers: dict[str, str] = {} if json_bytes is None else {_HEADER: str(json_bytes)}
        body, coding = compressed(request, body)
        return Response(body, headers=headers | coding, media_type=_JSON if json_bytes is None else _BINARY)

    response = await off_loop(sum(output.nbytes for output in inference.outputs.values()), render)
    if timings := log_answers(request, inference):
        response.headers["Server-Timing"] = server_timing(timings)
    return response
