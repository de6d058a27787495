"""Log lines at start about settings, and about guards that the server in use does not have."""

import logging
import os

from api.environment import unknown_variables
from api.settings import PREFIX, ApiSettings

# Set by `python main.py` for itself and its worker processes.
SERVED_BY = "FOVEA_SERVED_BY"
# Settings that only `python main.py` gives to the server.
_SERVER_SETTINGS = ("host", "port", "workers", "keep_alive_s", "tls_cert", "tls_key")

_log = logging.getLogger("fovea")


def log_start(settings: ApiSettings) -> None:
    for name in unknown_variables(os.environ):
        _log.warning("unknown setting name=%s", name)
    if not settings.keys:
        _log.info("API_KEYS is empty: inference needs no key")
    if SERVED_BY not in os.environ:
        _log_missing_guards(settings)


def _log_missing_guards(settings: ApiSettings) -> None:
    defaults = type(settings).model_fields
    ignored = [n for n in _SERVER_SETTINGS if getattr(settings, n) != defaults[n].default]
    if ignored:
        names = ", ".join(PREFIX + name.upper() for name in ignored)
        _log.warning("%s: not used under this server, whose own options decide", names)
    _log.info(
        "this server has no limits for request headers and slow readers: put a proxy in front, see deploy/nginx.conf"
    )
