"""OpenTelemetry traces as a collector receives them."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path

import grpc
import pytest
from tritonclient.grpc import service_pb2, service_pb2_grpc

from tests import plain_http
from tests.e2e.otlp import Collector, Span, collecting
from tests.e2e.services import RED, WAIT_S, free_port, infer, make_models, own_models
from tests.paths import ROOT
from tests.process import Service, running
from tests.server import until

STAGES = ["decode", "preprocess", "inference", "postprocess"]
CALL_TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
TRACE, CALLER = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
MISSING = "import runpy, sys; sys.modules['opentelemetry.sdk'] = None; runpy.run_path('main.py', run_name='__main__')"
OFF = "import main, sys; sys.exit(any('opentelemetry.sdk' in name for name in sys.modules))"


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    return own_models(make_models(tmp_path_factory.mktemp("models")))


@pytest.fixture(scope="module")
def collector() -> Iterator[Collector]:
    with collecting() as collector:
        yield collector


@pytest.fixture(scope="module")
def service(models: dict[str, str], collector: Collector) -> Iterator[Service]:
    with running({**models, **exported(collector), "API_LOG_FORMAT": "json"}) as service:
        yield service


def exported(collector: Collector) -> dict[str, str]:
    return {"OTEL_EXPORTER_OTLP_ENDPOINT": collector.endpoint, "OTEL_BSP_SCHEDULE_DELAY": "50"}


def names(stages: list[Span]) -> list[str]:
    """Without `queue`: only a busy machine makes a picture wait long enough for a span."""
    return [stage.name for stage in stages if stage.name != "queue"]


def test_a_request_is_a_server_span_with_its_stages(service: Service, collector: Collector) -> None:
    headers = {"traceparent": f"00-{TRACE}-{CALLER}-01"}
    response = plain_http.post(f"{service.base_url}/infer", content=RED, headers=headers, timeout=WAIT_S)
    server, stages = collector.trace(response.headers["traceresponse"])
    assert (server.name, server.is_server, server.failed) == ("POST /infer", True, False)
    assert (server.trace_id, server.parent_id) == (TRACE, CALLER)
    answer = response.json()
    assert server.attributes == {
        "http.request.method": "POST",
        "http.route": "/infer",
        "http.response.status_code": 200,
        "http.request.body.size": len(RED),
        "url.path": "/infer",
        "url.scheme": "http",
        "client.address": "127.0.0.1",
        "model.name": "colour",
        "model.version": "1",
        "image.width": answer["image"]["width"],
        "image.height": answer["image"]["height"],
        "fovea.request_id": answer["request_id"],
    }
    assert names(stages) == STAGES
    for earlier, later in pairwise(stages):
        assert earlier.ended <= later.started + 1000  # nanoseconds, of a clock that is a float
    assert server.started <= stages[0].started
    assert stages[-1].ended <= server.ended
    for stage in stages:
        if stage.name in STAGES:
            assert (stage.ended - stage.started) / 1e6 == pytest.approx(answer["timings_ms"][stage.name], abs=0.002)
    resource = collector.resources[server.process]
    assert (resource["service.name"], resource["telemetry.sdk.language"]) == ("fovea", "python")


def test_a_request_without_a_parent_begins_a_trace_that_the_log_names(service: Service, collector: Collector) -> None:
    response = infer(service)
    server, _ = collector.trace(response.headers["traceresponse"])
    assert server.parent_id == ""
    request_id = response.headers["x-request-id"]
    until(lambda: request_id in service.log_text)
    line = next(json.loads(line) for line in service.log if request_id in line)
    assert line["trace_id"] == server.trace_id
    assert (line["request_bytes"], line["response_bytes"]) == (len(RED), len(response.content))
    assert (line["width"], line["height"]) == (server.attributes["image.width"], server.attributes["image.height"])
    assert (line["model"], line["version"], line["status"]) == ("colour", "1", 200)
    assert {f"{stage}_ms" for stage in (*STAGES, "queue")} < line.keys()


def test_each_picture_of_a_batch_and_each_model_has_its_stages(service: Service, collector: Collector) -> None:
    pictures = [("images", ("private-name.png", RED))] * 3
    batch = plain_http.post(f"{service.base_url}/infer/batch", files=pictures, timeout=WAIT_S)
    server, stages = collector.trace(batch.headers["traceresponse"])
    assert server.attributes["image.count"] == 3
    assert server.attributes["model.name"] == "colour"
    assert sorted(names(stages)) == sorted(STAGES * 3)
    both = infer(service, query="?model=colour&model=other")
    server, stages = collector.trace(both.headers["traceresponse"])
    assert server.attributes["model.name"] == "colour,other"
    inference = [stage.attributes["model.name"] for stage in stages if stage.name == "inference"]
    assert inference == ["colour", "other"]
    assert len([stage for stage in stages if stage.name == "decode"]) == 1
    assert "private-name" not in f"{collector.spans}{service.log_text}"


def test_failed_requests_are_traced_with_the_code_of_the_problem(service: Service, collector: Collector) -> None:
    response = infer(service, b"no picture")
    server, stages = collector.trace(response.headers["traceresponse"])
    found = server.attributes["http.response.status_code"], server.attributes["error.type"]
    assert found == (400, "undecodable_image")
    assert not server.failed  # as the conventions want it: the client's error
    assert not stages


def test_a_grpc_call_is_a_server_span_with_its_stages(models: dict[str, str], collector: Collector) -> None:
    port = free_port()
    with (
        running({**models, **exported(collector), "API_GRPC_PORT": str(port)}),
        grpc.insecure_channel(f"127.0.0.1:{port}") as channel,
    ):
        stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)
        request = service_pb2.ModelInferRequest(
            model_name="colour", raw_input_contents=[len(RED).to_bytes(4, "little") + RED]
        )
        request.inputs.add(name="image", datatype="BYTES", shape=[1])
        metadata = (("traceparent", f"00-{CALL_TRACE}-{CALLER}-01"), ("x-request-id", "call-1"))
        stub.ModelInfer(request, metadata=metadata, timeout=60)
        with pytest.raises(grpc.RpcError):
            stub.ModelMetadata(service_pb2.ModelMetadataRequest(name="nope"), metadata=metadata, timeout=60)
    found = [span for span in collector.spans if span.trace_id == CALL_TRACE]
    infer, failed = (
        next(span for span in found if span.name.endswith(name)) for name in ("ModelInfer", "ModelMetadata")
    )
    assert (infer.name, infer.is_server) == ("inference.GRPCInferenceService/ModelInfer", True)
    assert (infer.parent_id, infer.attributes["fovea.request_id"]) == (CALLER, "call-1")
    assert (infer.attributes["rpc.grpc.status_code"], infer.attributes["model.name"]) == (0, "colour")
    assert names(sorted((s for s in found if s.parent_id == infer.span_id), key=lambda s: s.started)) == STAGES
    assert (failed.attributes["rpc.grpc.status_code"], failed.attributes["error.type"]) == (5, "unknown_model")


def test_probes_and_scrapes_are_not_traced(service: Service) -> None:
    for path in ("/health", "/health/live", "/health/ready", "/metrics"):
        assert "traceresponse" not in plain_http.get(service.base_url + path, timeout=WAIT_S).headers


def test_each_worker_process_exports_its_own_spans(models: dict[str, str]) -> None:
    with collecting() as collector:
        named = {"OTEL_RESOURCE_ATTRIBUTES": "service.name=vision,deployment.environment.name=test"}
        with running({**models, **exported(collector), **named, "API_WORKERS": "2"}) as service:
            answered: list[str] = []

            def both_have_exported() -> bool:
                with ThreadPoolExecutor(8) as clients:  # at once, so that both workers have to answer
                    responses = clients.map(lambda _: infer(service), range(16))
                answered.extend(response.headers["traceresponse"] for response in responses)
                return len(collector.resources) == 2

            until(both_have_exported)
        # After the end of all processes: what was not sent yet was sent at the end.
        ids = {span.span_id for span in collector.spans}
        assert {header.split("-")[2] for header in answered} <= ids
        assert {resource["service.name"] for resource in collector.resources.values()} == {"vision"}


def test_requests_and_the_end_do_not_wait_for_a_collector_that_is_down(models: dict[str, str]) -> None:
    with running({**models, "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{free_port()}"}) as service:
        assert infer(service).status_code == 200
    assert service.exit_code == 0
    assert service.bugs() == []


def test_missing_packages_stop_the_start(tmp_path: Path) -> None:
    environment = {**os.environ, "API_CACHE_DIR": str(tmp_path), "OTEL_TRACES_EXPORTER": "otlp"}
    command = [sys.executable, "-c", MISSING]
    ended = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert ended.returncode == 1
    assert "requirements/otel.txt" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_without_traces_the_sdk_is_not_imported(tmp_path: Path) -> None:
    environment = {**os.environ, "API_CACHE_DIR": str(tmp_path)}
    subprocess.run([sys.executable, "-c", OFF], cwd=ROOT, env=environment, check=True)
