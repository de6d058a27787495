"""Runs uvicorn as the settings say. `uvicorn main:app` and other ASGI servers serve the same application."""

import math
import os
import signal
import ssl
import sys
import tempfile
from functools import partial
from pathlib import Path

import uvicorn

from api.server.header_limits import HeaderLimitProtocol
from api.server.start_log import SERVED_BY
from api.server.tls import ssl_context
from api.settings import ApiSettings
from api.telemetry.logs import set_up_logs

APP = "main:app"
# After the drain, requests in flight end within their own deadlines.
_SHUTDOWN_MARGIN_S = 5


def serve(settings: ApiSettings) -> int:
    """Returns the exit status: 0 after SIGINT or SIGTERM, 1 for an invalid certificate, 3 if uvicorn cannot start."""
    set_up_logs(settings.log_level, settings.log_format)
    signal.signal(signal.SIGTERM, _exit_normally)
    os.environ[SERVED_BY] = "main.py"  # inherited by worker processes
    try:
        if settings.tls_cert and settings.tls_key:
            ssl_context(settings.tls_cert, settings.tls_key)
    except ValueError as error:
        sys.stderr.write(f"The service cannot start:\nAPI_TLS_CERT={settings.tls_cert}: {error}\n")
        return 1
    if settings.worker_count == 1:
        return _run(settings)
    with tempfile.TemporaryDirectory(prefix="fovea-metrics-") as folder:
        os.environ.setdefault("PROMETHEUS_MULTIPROC_DIR", folder)
        return _run(settings)


def _run(settings: ApiSettings) -> int:
    tls = None
    if settings.tls_cert and settings.tls_key:
        tls = partial(_ssl_context_factory, settings.tls_cert, settings.tls_key)
    try:
        uvicorn.run(
            APP,
            host=settings.host,
            port=settings.port,
            workers=settings.worker_count,
            http=HeaderLimitProtocol,
            ws="none",
            lifespan="on",
            ssl_context_factory=tls,
            timeout_keep_alive=settings.keep_alive_s,
            timeout_graceful_shutdown=math.ceil(settings.request_timeout_ms / 1e3 + settings.body_timeout_s)
            + _SHUTDOWN_MARGIN_S,
            log_config=None,
            access_log=False,
            proxy_headers=False,  # API_TRUSTED_PROXIES decides
            server_header=False,
        )
    except SystemExit as stop:
        return int(stop.code or 0)
    return 0


def _ssl_context_factory(certificate: Path, key: Path, *_: object) -> ssl.SSLContext:
    """uvicorn's `ssl_context_factory`; worker processes import it by its name."""
    return ssl_context(certificate, key)


def _exit_normally(*_: object) -> None:
    """uvicorn raises SIGTERM again after its graceful shutdown; the process then exits with status 0."""
