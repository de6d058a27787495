"""The log line of each request."""

import asyncio
import logging
from collections import Counter
from collections.abc import Mapping
from typing import Any

import structlog

# Their successes are logged as `debug`: orchestrators and Prometheus send them every few seconds.
_PROBES = frozenset(("/health", "/health/live", "/health/ready", "/metrics"))
# Under overload these rejections come by the hundred a second.
_SAMPLED_CODES = frozenset(("queue_full", "rate_limited", "uploads_full"))
_MAX_SAMPLES = 20
_SAMPLING_S = 1.0

_FIRST = ("status", "code", "path", "method", "model", "version", "detail", "ms")
_LAST = ("client", "request_id")

_logger = logging.getLogger("fovea.request")
_log = structlog.stdlib.get_logger("fovea.request")


class RequestLog:
    """Writes one line a request; of rejections under overload at most 20 a second for each code, then their count."""

    def __init__(self) -> None:
        self._rejections = Counter[str]()

    def write(self, fields: Mapping[str, Any], error: BaseException | None = None) -> None:
        """Logs a request's `fields`, of which only `status` is required. Call it from the event loop.

        `error` is the unexpected exception behind a 500; the line carries its traceback.
        """
        level = _level(fields["status"], fields.get("path"), error)
        if not _logger.isEnabledFor(level) or self._is_left_out(fields.get("code")):
            return
        first = {name: fields[name] for name in _FIRST if name in fields}
        rest = {name: value for name, value in fields.items() if name not in _FIRST and name not in _LAST}
        last = {name: fields[name] for name in _LAST if name in fields}
        traceback = {} if error is None else {"exc_info": error}
        _log.log(level, "request", **first, **rest, **last, **traceback)

    def _is_left_out(self, code: str | None) -> bool:
        if code not in _SAMPLED_CODES:
            return False
        if not self._rejections:
            asyncio.get_running_loop().call_later(_SAMPLING_S, self._write_count)
        self._rejections[code] += 1
        return self._rejections[code] > _MAX_SAMPLES

    def _write_count(self) -> None:
        for code, count in self._rejections.items():
            if count > _MAX_SAMPLES:
                _log.warning("rejections not logged", code=code, count=count - _MAX_SAMPLES)
        self._rejections.clear()


def _level(status: int, path: str | None, error: BaseException | None) -> int:
    if error is not None:
        return logging.ERROR
    if status >= 500:
        return logging.WARNING
    return logging.DEBUG if status < 400 and path in _PROBES else logging.INFO
