"""Runs the app under uvicorn, as `python main.py` and `make run` do: in this process, or in several on one port."""

import logging
import signal
import sys

import uvicorn
from fastapi import FastAPI

from api.http_protocol import BoundedHttpProtocol
from api.settings import ApiSettings

_SHUTDOWN_GRACE_S = 30
# A worker whose answer to its supervisor takes longer hangs, and is replaced; a busy machine is no reason.
_WORKER_HANGS_S = 30

_log = logging.getLogger("fovea")


def serve(app: FastAPI, settings: ApiSettings) -> None:
    """Returns when the process is told to end (SIGINT, SIGTERM) and the requests it had are answered: status 0.

    With several workers this process only watches over them; each builds its own app from the same settings.
    """
    several = settings.workers > 1
    if not several:
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))  # uvicorn hands the signal on when it is done
    address = f"http://{settings.host}:{settings.port}"
    _log.info("%s/docs shows all; try: curl -F image=@tests/data/cat.jpg %s/infer", address, address)
    uvicorn.run(
        "main:app" if several else app,
        host=settings.host,
        port=settings.port,
        workers=settings.workers,
        http=BoundedHttpProtocol,
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_keep_alive=65,
        timeout_graceful_shutdown=_SHUTDOWN_GRACE_S,
        timeout_worker_healthcheck=_WORKER_HANGS_S,
    )
