"""gRPC beside HTTP: keys, limits, TLS, health checks, reflection, and what stops the start."""

import os
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest
import trustme
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase
from tritonclient.grpc import service_pb2 as messages
from tritonclient.grpc import service_pb2_grpc

from tests.certificates import issue
from tests.e2e.services import RED, WAIT_S, free_port, make_models, own_models
from tests.paths import ROOT
from tests.process import MAIN, running
from tests.server import until

SERVICE = "inference.GRPCInferenceService"


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    return own_models(make_models(tmp_path_factory.mktemp("models")))


@pytest.fixture(scope="module")
def channel(settings: dict[str, str]) -> Iterator[grpc.Channel]:
    port = free_port()
    limits = {"API_GRPC_PORT": str(port), "API_KEYS": "secret", "API_MAX_UPLOAD_BYTES": "50000"}
    with running(settings | limits), grpc.insecure_channel(f"127.0.0.1:{port}") as opened:
        yield opened


def infer(channel: grpc.Channel, picture: bytes, **metadata: str) -> messages.ModelInferResponse:
    stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)
    return stub.ModelInfer(infer_request(picture), metadata=tuple(metadata.items()), timeout=WAIT_S)


def infer_request(picture: bytes) -> messages.ModelInferRequest:
    request = messages.ModelInferRequest(model_name="colour")
    tensor = request.inputs.add(name="image", datatype="BYTES", shape=[1])
    tensor.contents.bytes_contents.append(picture)
    return request


def code_of(channel: grpc.Channel, picture: bytes, **metadata: str) -> tuple[grpc.StatusCode, str]:
    with pytest.raises(grpc.RpcError) as raised:
        infer(channel, picture, **metadata)
    trailing = dict(raised.value.trailing_metadata() or ())
    return raised.value.code(), str(trailing.get("code", ""))


def test_keys_are_metadata(channel: grpc.Channel) -> None:
    assert infer(channel, RED, authorization="Bearer secret").outputs[0].name == "label"
    assert code_of(channel, RED) == (grpc.StatusCode.UNAUTHENTICATED, "no_key")
    assert code_of(channel, RED, authorization="Bearer x") == (grpc.StatusCode.PERMISSION_DENIED, "wrong_key")


def test_a_wrong_key_ends_calls_that_have_not_sent_their_message(channel: grpc.Channel) -> None:
    never = threading.Event()

    def messages_of_a_slow_client() -> Iterator[bytes]:
        never.wait()
        yield b""

    for call in (channel.stream_unary(f"/{SERVICE}/ModelInfer"), channel.stream_stream(f"/{SERVICE}/ModelStreamInfer")):
        with pytest.raises(grpc.RpcError) as raised:
            list(call(messages_of_a_slow_client(), timeout=WAIT_S))
        assert raised.value.code() is grpc.StatusCode.UNAUTHENTICATED
    never.set()


def test_calls_without_a_message_or_with_a_damaged_one_are_rejected(channel: grpc.Channel) -> None:
    own = {"metadata": (("x-api-key", "secret"),), "timeout": WAIT_S}
    call = channel.stream_unary(f"/{SERVICE}/ModelInfer")
    with pytest.raises(grpc.RpcError, match="ended before its message") as raised:
        call(iter(()), **own)
    assert raised.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    with pytest.raises(grpc.RpcError, match="damaged") as raised:
        call(iter([b"\xff"]), **own)
    assert raised.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    stream = channel.stream_stream(f"/{SERVICE}/ModelStreamInfer")
    answers = map(messages.ModelStreamInferResponse.FromString, stream(iter([b"\xff", b""]), **own))
    assert ["damaged" in answer.error_message for answer in answers] == [True, False]


def test_deadlines_and_ids_are_read_from_metadata(channel: grpc.Channel) -> None:
    own = {"authorization": "Bearer secret", "x-request-timeout-ms": "0"}
    assert code_of(channel, RED, **own) == (grpc.StatusCode.INVALID_ARGUMENT, "invalid_parameter")


def test_limits_are_those_of_http(channel: grpc.Channel) -> None:
    assert code_of(channel, bytes(50_001), authorization="Bearer secret")[1] == "too_many_bytes"
    assert code_of(channel, bytes(500_000), authorization="Bearer secret")[0] is grpc.StatusCode.RESOURCE_EXHAUSTED


def test_health_and_reflection_need_no_key(channel: grpc.Channel) -> None:
    check = health_pb2_grpc.HealthStub(channel).Check
    for name in ("", SERVICE):
        assert check(health_pb2.HealthCheckRequest(service=name)).status == health_pb2.HealthCheckResponse.SERVING
    with pytest.raises(grpc.RpcError, match="unknown service"):
        check(health_pb2.HealthCheckRequest(service="nope"))
    assert SERVICE in ProtoReflectionDescriptorDatabase(channel).get_services()


def test_rate_limit_is_that_of_http_and_open_streams_end_with_the_server(settings: dict[str, str]) -> None:
    """The stop waits for calls that run, 600 s at most here, but not for streams without a request."""
    port = free_port()
    own = {"API_GRPC_PORT": str(port), "API_RATE_LIMIT": "2/day", "API_REQUEST_TIMEOUT_MS": "600000"}
    with (
        running(settings | own | {"API_DRAIN_SECONDS": "3"}) as service,
        grpc.insecure_channel(f"127.0.0.1:{port}") as channel,
    ):
        infer(channel, RED)
        health = health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest())
        unknown = health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest(service="nope"))
        never = threading.Event()
        request = infer_request(RED)
        stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)
        stream = stub.ModelStreamInfer(request if n == 0 else never.wait() for n in range(2))
        assert not next(stream).error_message
        assert code_of(channel, RED) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "rate_limited")
        states = health_pb2.HealthCheckResponse
        assert (next(health).status, next(unknown).status) == (states.SERVING, states.SERVICE_UNKNOWN)
        service.terminate()
        assert [answer.status for answer in health] == [states.NOT_SERVING]
        assert list(stream) == []
        never.set()


def test_tls_is_that_of_https_and_a_renewed_certificate_is_used(settings: dict[str, str], tmp_path: Path) -> None:
    first, second = trustme.CA(), trustme.CA()
    certificate, key = issue(first, tmp_path)
    port = free_port()
    own = {"API_GRPC_PORT": str(port), "API_TLS_CERT": str(certificate), "API_TLS_KEY": str(key)}

    def answers(authority: trustme.CA) -> bool:
        trust = grpc.ssl_channel_credentials(authority.cert_pem.bytes())
        with grpc.secure_channel(f"127.0.0.1:{port}", trust) as channel:
            try:
                return bool(infer(channel, RED).outputs)
            except grpc.RpcError:
                return False

    with running(settings | own, wait=False):
        until(lambda: answers(first))
        issue(second, tmp_path)
        until(lambda: answers(second))


def test_a_port_in_use_stops_the_start(settings: dict[str, str]) -> None:
    port = free_port()
    with running(settings | {"API_GRPC_PORT": str(port)}):
        own = {**os.environ, **settings, "API_GRPC_PORT": str(port), "API_PORT": "0"}
        ended = subprocess.run(MAIN, cwd=ROOT, env=own, capture_output=True, text=True, timeout=WAIT_S, check=False)
    assert ended.returncode
    assert f"API_GRPC_PORT={port}: cannot listen on 127.0.0.1:{port}" in ended.stdout + ended.stderr
