"""Serves as the settings say, as `python main.py` and `make run` do: a supervisor with its workers."""

import logging
import socket

from api.log_setup import set_up_logs
from api.settings import ApiSettings

_log = logging.getLogger("fovea")


def serve(settings: ApiSettings) -> int:
    """The exit status: 0 when it was told to end (SIGINT, SIGTERM) and the requests it had are answered."""
    set_up_logs(settings.log_level, settings.log_format)
    if not hasattr(socket, "send_fds"):  # on Windows no process can hand a connection to another
        from api.worker import serve_alone

        serve_alone(settings)
        return 0
    from api.supervisor import Supervisor, listen

    try:
        listener = listen(settings.host, settings.port)
    except OSError as error:
        _log.error("cannot listen on %s port %s: %s", settings.host, settings.port, error.strerror)
        return 1
    return Supervisor(settings, listener).run()
