"""Log configuration: standard library logging, as text or JSON, written to stderr by a background thread."""

import atexit
import json
import logging
import os
import queue
import re
import traceback
from collections.abc import Iterator
from datetime import UTC, datetime
from logging.handlers import QueueHandler
from threading import Event, Thread
from typing import Any

import orjson

_STDERR = 2
_MAX_QUEUED_LINES = 4096
_FLUSH_S = 1.0
# A line waits this long for others. Each turn of the writing thread takes the interpreter's lock from requests.
_GATHER_S = 0.05
_UNQUOTED = re.compile(r"[^\s=\"']+")
_ANSI_COLOURS = {"DEBUG": 32, "INFO": 32, "WARNING": 33, "ERROR": 31, "CRITICAL": 31}

_log = logging.getLogger("fovea")


def set_up_logs(level: str, log_format: str) -> None:
    """Sends the log to stderr, as `log_format`: "text", or "json" for one object a line. May be called again.

    The loggers of Fovea and uvicorn log from `level` up, those of other libraries warnings and errors only. Fields of a
    line beside its message are a dict: `extra={"fields": {...}}`.
    """
    _queue_handler().setFormatter(_JsonFormatter() if log_format == "json" else _TextFormatter())
    for name in ("fovea", "uvicorn"):
        logging.getLogger(name).setLevel(level.upper())
    _take_over_uvicorn_logs()


def flush_logs() -> None:
    """Waits until all queued lines are written, one second at most. Runs at exit; call it before `os._exit`."""
    _queue_handler().flush()


class _LineQueueHandler(QueueHandler):
    """Formats and queues lines. A line that finds the queue full is dropped and counted."""

    def __init__(self) -> None:
        self.lines = queue.SimpleQueue[str | Event]()
        self.dropped = self._listening_pid = 0
        self._flushing = Event()
        super().__init__(self.lines)

    def prepare(self, record: logging.LogRecord) -> str:
        return self.format(record)

    def enqueue(self, record: Any) -> None:  # noqa: ANN401 - a line, see `prepare`
        if self._listening_pid != os.getpid():  # the first line, or the first line after a fork
            self._start_listener()
        if self.lines.qsize() < _MAX_QUEUED_LINES:
            self.lines.put(record)
        else:
            self.dropped += 1

    def flush(self) -> None:
        """Waits until all queued lines are written, one second at most."""
        if self._listening_pid == os.getpid():
            written = Event()
            self.lines.put(written)
            self._flushing.set()
            written.wait(_FLUSH_S)

    def _start_listener(self) -> None:
        """Makes a new queue, too: a fork may have copied the old one in use."""
        self._listening_pid, self._flushing = os.getpid(), Event()
        self.queue = self.lines = queue.SimpleQueue()
        Thread(target=self._write_lines, args=(self.lines,), name="log", daemon=True).start()

    def _write_lines(self, lines: "queue.SimpleQueue[str | Event]") -> None:
        """Once the queue is empty, logs how many lines were dropped.

        It writes to the file descriptor: a thread that blocks there holds no lock that the exit of the process needs.
        """
        reported = self.dropped
        while True:
            gathered = [lines.get()]
            self._flushing.wait(_GATHER_S)
            self._flushing.clear()
            gathered += [lines.get_nowait() for _ in range(lines.qsize())]
            texts = [line for line in gathered if isinstance(line, str)]
            if not _write("".join([f"{text}\n" for text in texts]).encode("utf-8", "backslashreplace")):
                self.dropped += len(texts)
            elif lines.empty() and (count := self.dropped - reported):
                reported += count
                _log.warning("log lines dropped", extra={"fields": {"count": count}})
            for line in gathered:
                if isinstance(line, Event):
                    line.set()


def _write(data: bytes) -> bool:
    """Whether stderr took all of it; it may be closed, or its disk full."""
    try:
        while data:
            data = data[os.write(_STDERR, data) :]
    except OSError:
        return False
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


class _TextFormatter(logging.Formatter):
    """`2026-11-24T21:41:46.123456Z INFO     server started  url=http://127.0.0.1:8000`, and the traceback below."""

    def __init__(self) -> None:
        super().__init__()
        self._coloured = os.isatty(_STDERR) and os.name != "nt"

    def format(self, record: logging.LogRecord) -> str:
        level = f"{record.levelname:<8}"
        if self._coloured:
            level = f"\x1b[{_ANSI_COLOURS[record.levelname]}m{level}\x1b[0m"
        fields = getattr(record, "fields", {})
        if not record.name.startswith(("fovea", "uvicorn")):
            fields = {"logger": record.name, **fields}
        pairs = [f"  {name}={_quoted(v) if isinstance(v, str) else v}" for name, v in fields.items()]
        return f"{_timestamp(record)} {level} {_printable(record.getMessage())}{''.join(pairs)}{_traceback(record)}"


class _JsonFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        line = {
            **getattr(record, "fields", {}),
            "event": record.getMessage(),
            "level": record.levelname.lower(),
            "logger": record.name,
            "timestamp": _timestamp(record),
        }
        if record.exc_info and record.exc_info[1]:
            line["exception"] = list(_exceptions(record.exc_info[1]))
        try:
            return orjson.dumps(line, default=str).decode()
        except TypeError:  # a lone surrogate, or an integer beyond 64 bits
            return json.dumps(line, default=str)


def _timestamp(record: logging.LogRecord) -> str:
    return f"{datetime.fromtimestamp(record.created, UTC):%Y-%m-%dT%H:%M:%S.%f}Z"


def _printable(text: str) -> str:
    """Escapes control characters: clients choose some of this text, and terminals obey escape sequences."""
    return text if text.isprintable() else json.dumps(text)[1:-1]


def _quoted(text: str) -> str:
    if text.isprintable() and _UNQUOTED.fullmatch(text):
        return text
    return json.dumps(text, ensure_ascii=not text.isprintable())


def _traceback(record: logging.LogRecord) -> str:
    """Indents every line: an exception's message may have lines that look like the log's."""
    if not record.exc_info:
        return ""
    lines = "".join(traceback.format_exception(*record.exc_info)).rstrip().split("\n")
    return "".join(f"\n    {_printable(line)}" for line in lines)


def _exceptions(error: BaseException | None) -> Iterator[dict[str, Any]]:
    """The exception and its causes, without local variables: they hold keys and whole pictures."""
    while error:
        frames = traceback.extract_tb(error.__traceback__)
        yield {
            "exc_type": type(error).__name__,
            "exc_value": str(error),
            "frames": [{"filename": frame.filename, "lineno": frame.lineno, "name": frame.name} for frame in frames],
        }
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
