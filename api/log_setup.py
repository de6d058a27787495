"""Logs by structlog: readable on a terminal, or one JSON object a line; the server's own lines go the same way."""

import logging
import sys
from typing import Any

import orjson
import structlog

_HANDLER = "fovea"
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
    handler = logging.StreamHandler()
    handler.set_name(_HANDLER)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *_renderers(log_format)],
        )
    )
    root = logging.getLogger()
    root.handlers = [h for h in root.handlers if h.get_name() != _HANDLER] + [handler]
    for name in ("fovea", "uvicorn"):  # what libraries tell of themselves below a warning is nobody's business
        logging.getLogger(name).setLevel(level.upper())
    _adopt_server_logs()


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
