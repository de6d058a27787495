"""The log line of each request."""

import asyncio
import logging
from collections import Counter
from collections.abc import Mapping
from typing import Any

# Logged as `debug` also while the service is not ready: orchestrators and Prometheus send them every few seconds.
PROBES = frozenset(("/health", "/health/live", "/health/ready", "/metrics"))
# Under overload these rejections come by the hundred a second.
_SAMPLED_CODES = frozenset(("queue_full", "rate_limited", "uploads_full"))
_MAX_SAMPLES = 20
_SAMPLING_S = 1.0

_MAX_CHARACTERS = 500

_FIRST = ("status", "code", "path", "method", "model", "version", "detail", "ms")
_LAST = ("client", "request_id", "trace_id")

_log = logging.getLogger("fovea.request")


class RequestLog:
    """Writes one line a request; of rejections under overload at most 20 a second for each code, then their count."""

    def __init__(self) -> None:
        self._rejections = Counter[str]()

    def write(self, fields: Mapping[str, Any], error: BaseException | None = None) -> None:
        """Logs a request's `fields`, of which only `status` is required. Call it from the event loop.

        `error` is the unexpected exception behind a 500; the line carries its traceback.
        """
        level = _level(fields["status"], fields.get("path"), error)
        if not _log.isEnabledFor(level) or self._is_left_out(fields.get("code")):
            return
        names = dict.fromkeys([*_FIRST, *[name for name in fields if name not in _LAST], *_LAST])
        shown = {name: fields[name] for name in names if name in fields}
        shown |= {name: _shortened(value) for name, value in shown.items() if isinstance(value, str)}
        _log.log(level, "request", extra={"fields": shown}, exc_info=error)

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
                counted = {"code": code, "count": count - _MAX_SAMPLES}
                _log.warning("rejections not logged", extra={"fields": counted})
        self._rejections.clear()


def _level(status: int, path: str | None, error: BaseException | None) -> int:
    if error is not None:
        return logging.ERROR
    if path in PROBES and (status < 400 or status == 503):
        return logging.DEBUG
    return logging.WARNING if status >= 500 else logging.INFO


def _shortened(text: str) -> str:
    """Clients choose the length of some values, such as the path."""
    return f"{text[:_MAX_CHARACTERS]}..." if len(text) > _MAX_CHARACTERS else text
