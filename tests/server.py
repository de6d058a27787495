"""A real server on a real socket, in a thread of the test process."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
import uvicorn

from api.inference_api import InferenceAPI
from api.server.header_limits import HeaderLimitProtocol
from api.settings import ApiSettings
from tests import plain_http

_START_S = 120  # far more than an idle machine needs


def service_settings(**chosen: object) -> ApiSettings:
    """Settings without `api_settings.env`; thread count and batch size are fixed, so that models load untuned."""
    return ApiSettings(_env_file=None, **{"intra_op_threads": 2, "max_batch": 1, **chosen})  # type: ignore[arg-type]  # pydantic validates


@dataclass(frozen=True)
class Server:
    """A running server: `client` is connected to its `port`, `api` is the application."""

    client: httpx.Client
    api: InferenceAPI
    port: int


@contextmanager
def serving(settings: ApiSettings, *, wait: bool = True, **parts: object) -> Iterator[Server]:
    """Runs a server for the block. With `wait`, the block begins when the default model is loaded or has failed."""
    api = InferenceAPI(settings, **parts)  # type: ignore[arg-type]  # its own keywords
    config = uvicorn.Config(
        api.app,
        port=0,
        http=HeaderLimitProtocol,
        ws="none",
        timeout_keep_alive=settings.keep_alive_s,
        proxy_headers=False,
        log_config=None,
        access_log=False,
        timeout_graceful_shutdown=2,
    )
    running = uvicorn.Server(config)
    thread = threading.Thread(target=running.run, daemon=True)
    thread.start()
    try:
        until(lambda: running.started)
        port: int = running.servers[0].sockets[0].getsockname()[1]
        if wait:
            until(lambda: all(part.status != "starting" for part in api.health.parts().values()))
        with plain_http.Client(base_url=f"http://127.0.0.1:{port}", timeout=60) as client:
            yield Server(client, api, port)
    finally:
        running.should_exit = True
        thread.join(_START_S)


def until(happened: Callable[[], object], seconds: float = _START_S) -> None:
    """Waits until `happened` returns a true value; fails after `seconds`."""
    started = time.monotonic()
    while not happened():
        waited = time.monotonic() - started
        assert waited < seconds, "the event did not happen"
        time.sleep(min(0.002 + waited / 20, 0.1))


def request_lines(caplog: pytest.LogCaptureFixture, request_id: str) -> list[dict[str, Any]]:
    """Returns the log lines of a request; waits for the first one, which is written after the response."""

    def lines() -> list[dict[str, Any]]:
        return [line for line in logged_fields(caplog) if line.get("request_id") == request_id]

    until(lines)
    return lines()


def logged_fields(caplog: pytest.LogCaptureFixture) -> list[dict[str, Any]]:
    """Returns the fields of each logged line that has any, with its event, level and exception."""
    return [
        {
            **record.__dict__["fields"],
            "event": record.getMessage(),
            "level": record.levelno,
            "exception": record.exc_info and record.exc_info[1],
        }
        for record in caplog.records
        if "fields" in record.__dict__
    ]
