"""The log line of a request: its level, the order of its fields, and what is left out under overload."""

import asyncio
import logging

import pytest

from api.telemetry import request_log
from api.telemetry.logs import set_up_logs
from api.telemetry.request_log import RequestLog
from tests.server import logged_fields


@pytest.fixture(autouse=True)
def debug_logs(caplog: pytest.LogCaptureFixture) -> None:
    set_up_logs("debug", "text")
    caplog.set_level(logging.DEBUG)


@pytest.mark.parametrize(
    ("status", "path", "level"),
    [
        (200, "/infer", logging.INFO),
        (404, "/infer", logging.INFO),
        (499, "/infer", logging.INFO),
        (503, "/infer", logging.WARNING),
        (200, "/health/live", logging.DEBUG),
        (200, "/metrics", logging.DEBUG),
        (401, "/metrics", logging.INFO),
        (503, "/health/ready", logging.DEBUG),
        (500, "/health/ready", logging.WARNING),
    ],
)
def test_level_follows_status_and_path(caplog: pytest.LogCaptureFixture, status: int, path: str, level: int) -> None:
    RequestLog().write({"status": status, "path": path})
    assert [line["level"] for line in logged_fields(caplog)] == [level]


def test_unexpected_exception_is_an_error_with_traceback(caplog: pytest.LogCaptureFixture) -> None:
    error = RuntimeError("a bug")
    RequestLog().write({"status": 500, "path": "/infer"}, error)
    [line] = logged_fields(caplog)
    assert line["level"] == logging.ERROR
    assert line["exception"] is error


def test_status_code_and_path_come_first(caplog: pytest.LogCaptureFixture) -> None:
    order = ["status", "code", "path", "method", "model", "version", "detail", "ms", "total_ms", "client", "request_id"]
    RequestLog().write({name: 400 if name == "status" else "x" for name in reversed(order)})
    [line] = logged_fields(caplog)
    assert [name for name in line if name in order] == order


def test_long_values_are_shortened(caplog: pytest.LogCaptureFixture) -> None:
    RequestLog().write({"status": 404, "path": "/" + "x" * 100_000})
    [line] = logged_fields(caplog)
    assert len(line["path"]) < 1000


def test_rejections_under_overload_are_sampled(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(request_log, "_SAMPLING_S", 0.0)

    async def overload() -> None:
        log = RequestLog()
        for _ in range(2):
            for _ in range(100):
                log.write({"status": 503, "code": "queue_full", "path": "/infer"})
                log.write({"status": 400, "code": "empty_image", "path": "/infer"})
            later = asyncio.Event()
            asyncio.get_running_loop().call_later(0.0, later.set)  # after the log's own timer
            await later.wait()

    asyncio.run(overload())
    found = logged_fields(caplog)
    assert [line.get("code") for line in found].count("empty_image") == 200
    assert len([line for line in found if line.get("status") == 503]) == 40
    counted = [(line["code"], line["count"]) for line in found if line["event"] == "rejections not logged"]
    assert counted == [("queue_full", 80), ("queue_full", 80)]
