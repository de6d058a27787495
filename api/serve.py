"""Runs the app in this process under uvicorn, as `python main.py` and `make run` do."""

import uvicorn
from fastapi import FastAPI

from api.settings import ApiSettings

_SHUTDOWN_GRACE_S = 30


def serve(app: FastAPI, settings: ApiSettings) -> None:
    """Returns when the process is told to end (SIGINT, SIGTERM) and the requests it had are answered."""
    uvicorn.run(
        app,
        host=settings.host,
        port=settings.port,
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_keep_alive=65,
        timeout_graceful_shutdown=_SHUTDOWN_GRACE_S,
    )
