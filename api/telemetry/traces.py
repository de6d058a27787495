"""OpenTelemetry traces: a server span for each request, and a child span for each stage of its pictures.

The environment variables of OpenTelemetry turn traces on and are read by its SDK, which is imported only then. The
stages are added when a picture is answered, with the times that its StageTimer has measured.
"""

import asyncio
import os
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from threading import Thread
from time import perf_counter, time_ns
from typing import TYPE_CHECKING, Any

from opentelemetry import trace
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api import VERSION
from api.environment import SettingsError
from api.telemetry.request_log import PROBES
from utils.time_utils import QUEUE

if TYPE_CHECKING:  # the process that manages workers does without
    from opentelemetry.sdk.trace import SpanProcessor

    from engine.pipeline import Answer, TensorAnswer

_ENDPOINTS = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
_EXPORTERS = ("otlp", "none")
_PROTOCOLS = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
_PROTOCOL = "http/protobuf"
# Shorter waits have no span: there is one before each stage, of some microseconds on an idle machine.
_SHORTEST_WAIT_S = 1e-4
# A process that ends waits this long for the collector.
_SHUTDOWN_S = 2.0
_W3C = frozenset((b"traceparent", b"tracestate"))
_PROPAGATOR = TraceContextTextMapPropagator()
# Codes of gRPC that are errors of the server: UNKNOWN, DEADLINE_EXCEEDED, UNIMPLEMENTED, INTERNAL, UNAVAILABLE.
_SERVER_ERRORS = frozenset((2, 4, 12, 13, 14))
_METHODS = frozenset(("GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS"))

# Fields of the log line -> attributes of the server span.
_ATTRIBUTES = {
    "code": "error.type",
    "request_bytes": "http.request.body.size",
    "model": "model.name",
    "version": "model.version",
    "images": "image.count",
    "width": "image.width",
    "height": "image.height",
}


def traces_requested(environment: Mapping[str, str] = os.environ) -> bool:
    """Whether the environment variables of OpenTelemetry name a collector or an exporter.

    Raises SettingsError if they ask for what is not available.
    """
    exporter = environment.get("OTEL_TRACES_EXPORTER", "").strip().lower()
    disabled = environment.get("OTEL_SDK_DISABLED", "").strip().lower() == "true" or exporter == "none"
    if disabled or not (exporter or any(environment.get(name) for name in _ENDPOINTS)):
        return False
    if exporter and exporter not in _EXPORTERS:
        raise SettingsError(f"OTEL_TRACES_EXPORTER={exporter}: allowed: {', '.join(_EXPORTERS)}")
    for name in _PROTOCOLS:
        if environment.get(name, _PROTOCOL) != _PROTOCOL:
            raise SettingsError(f"{name}={environment[name]}: allowed: {_PROTOCOL}")
    try:
        import opentelemetry.exporter.otlp.proto.http
        import opentelemetry.sdk.trace  # noqa: F401 - whether it can be imported
    except ImportError:
        raise SettingsError(
            "OpenTelemetry traces are requested, but their packages are not installed; "
            "run pip install -r requirements/otel.txt, or set OTEL_TRACES_EXPORTER=none"
        ) from None
    return True


class Traces:
    """The spans of one application. `tracer` makes them; while `lifespan` runs, they are exported."""

    def __init__(self) -> None:
        from opentelemetry.sdk.resources import OTELResourceDetector, Resource
        from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
        from opentelemetry.sdk.util.instrumentation import InstrumentationScope

        defaults = Resource({"service.name": "fovea", "service.version": VERSION})
        named = defaults.merge(OTELResourceDetector().detect())  # OTEL_SERVICE_NAME, OTEL_RESOURCE_ATTRIBUTES
        self._provider = TracerProvider(resource=Resource.create(named.attributes), shutdown_on_exit=False)
        self.tracer = self._provider.get_tracer("fovea", VERSION)
        # Makes a span that has ended already, in a fifth of the time of Tracer.start_span.
        self._ended_span = partial(ReadableSpan, instrumentation_scope=InstrumentationScope("fovea", VERSION))
        self._processor: SpanProcessor | None = None

    @asynccontextmanager
    async def lifespan(self) -> AsyncIterator[None]:
        """The exporter belongs to this worker process; its thread would not survive a fork."""
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.trace.export import BatchSpanProcessor

        self._processor = BatchSpanProcessor(OTLPSpanExporter())
        self._provider.add_span_processor(self._processor)
        try:
            yield
        finally:
            shutdown = Thread(target=self._provider.shutdown, daemon=True)
            shutdown.start()
            await asyncio.to_thread(shutdown.join, _SHUTDOWN_S)

    def answered(self, answers: "Sequence[Answer | TensorAnswer]") -> None:
        """Adds a picture's stages to the current request. Stages that several models share appear once."""
        request = trace.get_current_span()
        if not request.is_recording() or self._processor is None:
            return
        parent, epoch_ns = request.get_span_context(), time_ns() - int(perf_counter() * 1e9)
        added = set[tuple[str, float, float]]()
        for answer in answers:
            named = {"model.name": answer.model.name} if len(answers) > 1 else {}  # of one model, the request has it
            for interval in answer.timer.intervals:
                name, started, ended = interval
                if interval in added or (name == QUEUE and ended - started < _SHORTEST_WAIT_S):
                    continue
                added.add(interval)
                span = self._ended_span(
                    name,
                    self._child_of(parent),
                    parent,
                    self._provider.resource,
                    named,
                    start_time=epoch_ns + int(started * 1e9),
                    end_time=epoch_ns + int(ended * 1e9),
                )
                self._processor.on_end(span)

    def _child_of(self, parent: trace.SpanContext) -> trace.SpanContext:
        span_id = self._provider.id_generator.generate_span_id()
        return trace.SpanContext(parent.trace_id, span_id, False, parent.trace_flags, parent.trace_state)

    def loaded(self, name: str, seconds: float, *, ok: bool) -> None:
        """Loads have no span."""

    def ran(self, name: str, pictures: int) -> None:
        """A run is the stage `inference` of its pictures."""


class TraceRequests:
    """Pure ASGI middleware: the server span of each request but probes, in the trace of its `traceparent` header (W3C).

    Expects `request.state.log` of RequestContext; adds `trace_id` to it, and the header `traceresponse` to responses.
    """

    def __init__(self, app: ASGIApp, tracer: trace.Tracer) -> None:
        self._app, self._tracer = app, tracer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] in PROBES:
            await self._app(scope, receive, send)
            return
        status: int | None = None

        async def send_traced(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message = {
                    **message,
                    "headers": [*message.get("headers", []), (b"traceresponse", _traceresponse(span))],
                }
            await send(message)

        with server_span(self._tracer, scope) as span:
            try:
                await self._app(scope, receive, send_traced)
            finally:
                if span.is_recording():
                    _describe(span, scope, status)


@contextmanager
def server_span(tracer: trace.Tracer, scope: Scope) -> Iterator[trace.Span]:
    """The span of a request or call, in the trace that its headers name. Adds `trace_id` to its log line."""
    given = {str(name, "latin-1"): str(value, "latin-1") for name, value in scope["headers"] if name in _W3C}
    span = tracer.start_span("HTTP", context=_PROPAGATOR.extract(given), kind=trace.SpanKind.SERVER)
    scope["state"]["log"]["trace_id"] = trace.format_trace_id(span.get_span_context().trace_id)
    with trace.use_span(span, end_on_exit=True, record_exception=False):
        yield span


def describe_call(span: trace.Span, scope: Scope, service: str, method: str, code: int) -> None:
    """Attributes of a gRPC call. `code`: its status as gRPC numbers it."""
    span.update_name(f"{service}/{method}")
    span.set_attributes(
        {
            "rpc.system": "grpc",
            "rpc.service": service,
            "rpc.method": method,
            "rpc.grpc.status_code": code,
            "client.address": scope["client"][0],
            **_own_attributes(scope),
        }
    )
    if code in _SERVER_ERRORS:
        span.set_status(trace.StatusCode.ERROR)


def _describe(span: trace.Span, scope: Scope, status: int | None) -> None:
    """HTTP attributes as the semantic conventions name them. A response without a status was not sent."""
    route, client = scope.get("route"), scope.get("client")
    method = scope["method"] if scope["method"] in _METHODS else "_OTHER"
    attributes: dict[str, Any] = {
        "http.request.method": method,
        "url.path": scope["path"],
        "url.scheme": scope["scheme"],
        **_own_attributes(scope),
    }
    if status:
        attributes["http.response.status_code"] = status
    if route:
        attributes["http.route"] = route.path
        span.update_name(f"{method} {route.path}")
    if client:
        attributes["client.address"] = client[0]
    span.set_attributes(attributes)
    if status and status >= 500:
        span.set_status(trace.StatusCode.ERROR)


def _own_attributes(scope: Scope) -> dict[str, Any]:
    state = scope["state"]
    known = {_ATTRIBUTES[name]: value for name, value in state["log"].items() if name in _ATTRIBUTES}
    return {"fovea.request_id": state["request_id"], **known}


def _traceresponse(span: trace.Span) -> bytes:
    of = span.get_span_context()
    return f"00-{of.trace_id:032x}-{of.span_id:016x}-{of.trace_flags:02x}".encode()
