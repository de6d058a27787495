"""Which environment variables turn traces on. tests/e2e/test_traces.py has the spans."""

import sys

import pytest

from api.environment import SettingsError
from api.telemetry.traces import traces_requested

COLLECTOR = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://localhost:4318"}


@pytest.mark.parametrize(
    "environment",
    [
        {},
        {"OTEL_EXPORTER_OTLP_ENDPOINT": ""},
        {"OTEL_SERVICE_NAME": "vision"},
        {**COLLECTOR, "OTEL_TRACES_EXPORTER": "none"},
        {**COLLECTOR, "OTEL_SDK_DISABLED": "true"},
    ],
)
def test_traces_are_off_unless_the_environment_asks_for_them(environment: dict[str, str]) -> None:
    assert not traces_requested(environment)


@pytest.mark.parametrize(
    ("environment", "message"),
    [
        ({"OTEL_TRACES_EXPORTER": "zipkin"}, "OTEL_TRACES_EXPORTER=zipkin: allowed: otlp, none"),
        (
            {**COLLECTOR, "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"},
            "OTEL_EXPORTER_OTLP_PROTOCOL=grpc: allowed: http/protobuf",
        ),
    ],
)
def test_an_exporter_that_does_not_exist_here_is_an_error(environment: dict[str, str], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        traces_requested(environment)


@pytest.mark.parametrize("environment", [COLLECTOR, {"OTEL_TRACES_EXPORTER": "otlp"}])
def test_missing_packages_are_an_error(environment: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk.trace", None)
    with pytest.raises(SettingsError, match=r"not installed; run pip install -r requirements/otel\.txt"):
        traces_requested(environment)
