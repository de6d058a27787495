"""Serves as the settings say, as `python main.py` and `make run` do: a supervisor with its workers."""

import logging
import socket

from api.server.start_notes import tell_start_notes
from api.settings import ApiSettings
from api.telemetry.logs import set_up_logs

_DESCRIPTORS = 65_536

_log = logging.getLogger("fovea")


def serve(settings: ApiSettings) -> int:
    """The exit status: 0 when it was told to end (SIGINT, SIGTERM) and the requests it had are answered."""
    set_up_logs(settings.log_level, settings.log_format)
    if not hasattr(socket, "send_fds"):  # on Windows no process can hand a connection to another
        from api.worker import serve_alone

        serve_alone(settings)
        return 0
    tell_start_notes(settings)
    _allow_many_descriptors()
    from api.supervisor import Supervisor, listen

    try:
        listener = listen(settings.host, settings.port)
    except OSError as error:
        _log.error("cannot listen on %s port %s: %s", settings.host, settings.port, error.strerror)
        return 1
    return Supervisor(settings, listener).run()


def _allow_many_descriptors() -> None:
    """A connection is one; many systems allow 1,024 until they are asked for more."""
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _DESCRIPTORS if hard == resource.RLIM_INFINITY else min(hard, _DESCRIPTORS)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
