"""Logs by structlog: readable on a terminal, or one JSON object a line; the server's own lines go the same way."""

import logging
import re
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import orjson
import structlog

from api.log_stream import log_stream

_HANDLER = "fovea"
_HEAD = {"timestamp", "level", "event", "logger"}
_QUOTED = re.compile("[ \t=\r\n\"']")

_requests = logging.getLogger("fovea.request")

# Without local variables: they hold keys and whole pictures.
_TRACEBACKS_AS_DICTS = structlog.processors.ExceptionRenderer(
    structlog.tracebacks.ExceptionDictTransformer(show_locals=False)
)


def set_up_logs(level: str, log_format: str) -> None:
    """Gives the root logger one handler on stderr. Calling it again replaces that handler."""
    shared: list[structlog.typing.Processor] = [
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.stdlib.PositionalArgumentsFormatter(),
    ]
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        wrapper_class=structlog.stdlib.BoundLogger,
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(log_stream())
    handler.set_name(_HANDLER)
    handler.setFormatter(
        _Formatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *_renderers(log_format)],
            request_line=_request_line(log_format),
        )
    )
    root = logging.getLogger()
    root.handlers = [h for h in root.handlers if h.get_name() != _HANDLER] + [handler]
    for name in ("fovea", "uvicorn"):  # what libraries tell of themselves below a warning is nobody's business
        logging.getLogger(name).setLevel(level.upper())
    _adopt_server_logs()


def log_request(facts: dict[str, Any]) -> None:
    """One request's line, at the level info. It looks like structlog's lines and costs half of one."""
    if _requests.isEnabledFor(logging.INFO):
        line = _RequestLine(facts, event="request", level="info", logger=_requests.name, timestamp=_now())
        _requests.handle(_RequestRecord(line))


class _RequestLine(dict[str, Any]):
    """The message of a request's line."""


class _RequestRecord(logging.LogRecord):
    """The time, and what all of them have in common: to find that out anew costs more than to write the line."""

    _COMMON = vars(logging.LogRecord(_requests.name, logging.INFO, __file__, 0, "", None, None))

    def __init__(self, line: _RequestLine) -> None:
        now = time.time()
        self.__dict__.update(self._COMMON, msg=line, created=now, msecs=now % 1 * 1e3)


class _Formatter(structlog.stdlib.ProcessorFormatter):
    """With a short cut for requests' lines; None takes them the long way."""

    def __init__(
        self,
        *,
        request_line: Callable[[dict[str, Any]], str] | None,
        **options: Any,  # noqa: ANN401 - structlog's own options, handed on as they are
    ) -> None:
        super().__init__(**options)
        self._request_line = request_line

    def format(self, record: logging.LogRecord) -> str:
        line: object = record.msg
        if not isinstance(line, _RequestLine):
            return super().format(record)
        if self._request_line:
            return self._request_line(line)
        event: Any = dict(line)
        for processor in self.processors[1:]:
            event = processor(None, "info", event)
        return str(event)


def _request_line(log_format: str) -> Callable[[dict[str, Any]], str] | None:
    if log_format == "json":
        return _to_json
    return None if sys.stderr.isatty() else plain_line  # colours are structlog's own


def plain_line(line: dict[str, Any]) -> str:
    """Letter for letter what structlog's ConsoleRenderer makes of it without colours."""
    head = f"{line['timestamp']} [{line['level']:<9}] {line['event']:<30} [{line['logger']}] "
    quoted = _QUOTED.search
    return head + " ".join(
        [
            f"{key}={value}" if isinstance(value := line[key], str) and not quoted(value) else f"{key}={value!r}"
            for key in sorted(line)
            if key not in _HEAD
        ]
    )


def _now() -> str:
    return datetime.now(UTC).isoformat()[:-6] + "Z"


def _renderers(log_format: str) -> list[structlog.typing.Processor]:
    if log_format == "json":
        return [_TRACEBACKS_AS_DICTS, structlog.processors.JSONRenderer(serializer=_to_json)]
    plain = structlog.dev.plain_traceback
    return [structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), exception_formatter=plain)]


def _to_json(event: Any, **_: Any) -> str:  # noqa: ANN401 - the renderer's own signature
    return orjson.dumps(event, default=repr).decode()


def _adopt_server_logs() -> None:
    """uvicorn's lines pass through our handler; its access log is ours, one line a request."""
    for name in ("uvicorn", "uvicorn.error"):
        logger = logging.getLogger(name)
        logger.handlers.clear()
        logger.propagate = True
    logging.getLogger("uvicorn.access").disabled = True
