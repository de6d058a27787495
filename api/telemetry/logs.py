"""Log configuration: standard library logging, rendered by structlog, written to stderr by a background thread."""

import atexit
import json
import logging
import os
import queue
import re
import traceback
from logging.handlers import QueueHandler, QueueListener
from typing import Any, TextIO

import structlog
from structlog.dev import Column, ConsoleRenderer, KeyValueColumnFormatter

_STDERR = 2
_MAX_QUEUED_LINES = 4096
_FLUSH_S = 1.0
_UNQUOTED = re.compile(r"[^\s=\"']+")

_log = structlog.stdlib.get_logger("fovea")


def set_up_logs(level: str, log_format: str) -> None:
    """Sends the log to stderr, as `log_format`: "text", or "json" for one object a line. May be called again.

    The loggers of Fovea and uvicorn log from `level` up, those of other libraries warnings and errors only.
    """
    shared: list[structlog.typing.Processor] = [
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        wrapper_class=structlog.stdlib.BoundLogger,
        logger_factory=structlog.stdlib.LoggerFactory(),
    )
    processors = [structlog.stdlib.ProcessorFormatter.remove_processors_meta, *_renderers(log_format)]
    formatter = structlog.stdlib.ProcessorFormatter(foreign_pre_chain=shared, processors=processors)
    _queue_handler().setFormatter(formatter)
    for name in ("fovea", "uvicorn"):
        logging.getLogger(name).setLevel(level.upper())
    _take_over_uvicorn_logs()


def flush_logs() -> None:
    """Waits until all queued lines are written, one second at most. Runs at exit; call it before `os._exit`."""
    lines = _queue_handler().lines
    with lines.all_tasks_done:
        lines.all_tasks_done.wait_for(lambda: not lines.unfinished_tasks, _FLUSH_S)


class _LineQueueHandler(QueueHandler):
    """Formats records and queues the lines. A line that finds the queue full is dropped and counted."""

    def __init__(self) -> None:
        self.lines = queue.Queue[logging.LogRecord](_MAX_QUEUED_LINES)
        self.dropped = 0
        self._listening_pid = 0
        super().__init__(self.lines)

    def enqueue(self, record: logging.LogRecord) -> None:
        if self._listening_pid != os.getpid():  # the first line, or the first line after a fork
            self._start_listener()
        try:
            self.lines.put_nowait(record)
        except queue.Full:
            self.dropped += 1

    def _start_listener(self) -> None:
        """Makes a new queue, too: a fork may have copied the lock of the old one while it was held."""
        self._listening_pid = os.getpid()
        self.queue = self.lines = queue.Queue(_MAX_QUEUED_LINES)
        QueueListener(self.lines, _StderrWriter(self)).start()


class _StderrWriter(logging.Handler):
    """Writes lines to stderr in the listener's thread. Once the queue is empty again, it logs how many were dropped.

    It writes to the file descriptor: a thread that blocks there holds no lock that the exit of the process needs.
    """

    def __init__(self, source: _LineQueueHandler) -> None:
        super().__init__()
        self._source = source
        self._reported = source.dropped

    def handle(self, record: logging.LogRecord) -> bool:
        data = f"{record.getMessage()}\n".encode("utf-8", "backslashreplace")
        try:
            while data:
                data = data[os.write(_STDERR, data) :]
        except OSError:  # closed, or the disk is full
            self._source.dropped += 1
            return False
        if self._source.lines.empty() and (count := self._source.dropped - self._reported):
            self._reported += count
            _log.warning("log lines dropped", count=count)
        return True


def _queue_handler() -> _LineQueueHandler:
    root = logging.getLogger()
    handler = next((found for found in root.handlers if isinstance(found, _LineQueueHandler)), None)
    if handler is None:
        handler = _LineQueueHandler()
        root.addHandler(handler)
        atexit.register(flush_logs)
    return handler


def _take_over_uvicorn_logs() -> None:
    """uvicorn's own handlers go; its access log is off, because each request has a line of Fovea's."""
    for name in ("uvicorn", "uvicorn.error"):
        logger = logging.getLogger(name)
        logger.handlers.clear()
        logger.propagate = True
    logging.getLogger("uvicorn.access").disabled = True


def _renderers(log_format: str) -> list[structlog.typing.Processor]:
    if log_format == "json":
        # Without local variables: they hold keys and whole pictures.
        transformer = structlog.tracebacks.ExceptionDictTransformer(show_locals=False)
        return [
            structlog.processors.ExceptionRenderer(transformer),
            structlog.processors.JSONRenderer(separators=(",", ":")),
        ]
    columns = _columns(colours=os.isatty(_STDERR))
    return [
        _name_other_loggers,
        ConsoleRenderer(columns=columns, sort_keys=False, exception_formatter=_write_traceback),
    ]


def _columns(*, colours: bool) -> list[Column]:
    """`2026-11-24T21:41:46.123456Z INFO     server started  url=http://127.0.0.1:8000`."""
    styles = ConsoleRenderer.get_default_column_styles(colours)
    levels = ConsoleRenderer.get_default_level_styles(colours)

    def level(key: str, value: object) -> str:  # noqa: ARG001 - structlog passes both by position
        return f"{levels.get(str(value), '')}{str(value).upper():<8}{styles.reset}"

    return [
        Column("timestamp", KeyValueColumnFormatter(None, styles.timestamp, styles.reset, str)),
        Column("level", level),
        Column("event", KeyValueColumnFormatter(None, styles.bright, styles.reset, _printable)),
        Column("", KeyValueColumnFormatter(styles.kv_key, styles.kv_value, styles.reset, _quoted, prefix=" ")),
    ]


def _name_other_loggers(_: Any, __: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:  # noqa: ANN401 - structlog's processor type
    if event.get("logger", "").startswith(("fovea", "uvicorn")):
        del event["logger"]
    return event


def _printable(value: object) -> str:
    """Escapes control characters: clients choose some of this text, and terminals obey escape sequences."""
    text = str(value)
    return text if text.isprintable() else json.dumps(text)[1:-1]


def _quoted(value: object) -> str:
    text = str(value)
    if text.isprintable() and _UNQUOTED.fullmatch(text):
        return text
    return json.dumps(text, ensure_ascii=not text.isprintable())


def _write_traceback(stream: TextIO, exc_info: structlog.typing.ExcInfo) -> None:
    """Indents every line: an exception's message may have lines that look like the log's."""
    for line in "".join(traceback.format_exception(*exc_info)).rstrip().split("\n"):
        stream.write(f"\n    {_printable(line)}")
