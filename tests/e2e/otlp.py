"""A collector of OpenTelemetry traces: an HTTP server on this machine that reads OTLP, as protobuf."""

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span as SpanMessage

from tests.server import until


@dataclass(frozen=True)
class Span:
    """`process`: the `service.instance.id` of the process that sent it. Ids are hexadecimal, times nanoseconds."""

    name: str
    process: str
    trace_id: str
    span_id: str
    parent_id: str
    is_server: bool
    failed: bool
    started: int
    ended: int
    attributes: Mapping[str, Any]


class Collector:
    """`endpoint`: the value of OTEL_EXPORTER_OTLP_ENDPOINT. `resources`: attributes of each process, by its id."""

    def __init__(self, port: int) -> None:
        self.endpoint = f"http://127.0.0.1:{port}"
        self.spans: list[Span] = []
        self.resources: dict[str, Mapping[str, Any]] = {}

    def add(self, body: bytes) -> None:
        for sent in ExportTraceServiceRequest.FromString(body).resource_spans:
            resource = _attributes(sent.resource.attributes)
            process = resource["service.instance.id"]
            self.resources[process] = resource
            self.spans += [_span(process, message) for scope in sent.scope_spans for message in scope.spans]

    def trace(self, response_header: str) -> tuple[Span, list[Span]]:
        """The server span that a response's `traceresponse` names, and its children in order; waits for the export."""
        span_id = response_header.split("-")[2]
        until(lambda: any(span.span_id == span_id for span in self.spans))
        [server] = [span for span in self.spans if span.span_id == span_id]
        children = [span for span in self.spans if span.parent_id == span_id]
        return server, sorted(children, key=lambda span: span.started)


@contextmanager
def collecting() -> Iterator[Collector]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            assert (self.path, self.headers["content-type"]) == ("/v1/traces", "application/x-protobuf")
            collector.add(self.rfile.read(int(self.headers["content-length"])))
            self.send_response(200)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        collector = Collector(server.server_port)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield collector
        finally:
            server.shutdown()


def _span(process: str, message: SpanMessage) -> Span:
    return Span(
        message.name,
        process,
        message.trace_id.hex(),
        message.span_id.hex(),
        message.parent_span_id.hex(),
        message.kind == SpanMessage.SPAN_KIND_SERVER,
        message.status.code == message.status.STATUS_CODE_ERROR,
        message.start_time_unix_nano,
        message.end_time_unix_nano,
        _attributes(message.attributes),
    )


def _attributes(pairs: "Iterator[KeyValue]") -> dict[str, Any]:
    return {pair.key: getattr(pair.value, pair.value.WhichOneof("value") or "string_value") for pair in pairs}
