"""The log on stderr: its formats, and that it never blocks the process."""

import json
import logging
import multiprocessing
import os
import subprocess
import sys
import threading

import pytest

from api.telemetry.logs import flush_logs, set_up_logs
from tests.paths import ROOT

SET_UP = "import logging, sys; from api.telemetry.logs import set_up_logs; set_up_logs('info', 'text')\n"
LINES = 10_000
END_S = 60


@pytest.fixture(autouse=True)
def text_logs() -> None:
    set_up_logs("info", "text")


def start(script: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-c", SET_UP + script],
        cwd=ROOT,
        text=True,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def written(capfd: pytest.CaptureFixture[str]) -> str:
    flush_logs()
    return capfd.readouterr().err


def test_text_line_has_time_level_event_and_fields(capfd: pytest.CaptureFixture[str]) -> None:
    logging.getLogger("fovea").info("model loaded  name=%s", "cat")
    logging.getLogger("uvicorn.error").warning("two words")
    first, second = written(capfd).splitlines()
    assert first.split(" ", 1)[1] == "INFO     model loaded  name=cat"
    assert second.split(" ", 1)[1] == "WARNING  two words"


def test_json_line_is_one_object_with_the_traceback() -> None:
    """In another process: pytest-xdist cannot transfer a captured lone surrogate."""
    script = (
        "set_up_logs('info', 'json')\n"
        "try:\n"
        "    secret = ' '.join(['the', 'key'])\n"
        "    raise ValueError('no\\nnumber \\udcff')\n"
        "except ValueError:\n"
        "    logging.getLogger('fovea').exception('load failed')\n"
    )
    _, line = start(script).communicate(timeout=END_S)
    found = json.loads(line)
    assert (found["event"], found["level"], found["logger"]) == ("load failed", "error", "fovea")
    assert found["exception"][0]["exc_type"] == "ValueError"
    assert found["exception"][0]["frames"]
    assert "the key" not in line


def test_debug_lines_are_written_only_if_enabled(capfd: pytest.CaptureFixture[str]) -> None:
    logging.getLogger("fovea").debug("first")
    set_up_logs("debug", "text")
    logging.getLogger("fovea").debug("second")
    logging.getLogger("library").info("third")
    lines = written(capfd)
    assert "second" in lines
    assert "first" not in lines
    assert "third" not in lines


def test_formats_of_other_servers_keep_their_fields() -> None:
    """Those of gunicorn and Hypercorn have `%(process)d`: without it, each of their lines was a traceback."""
    record = logging.getLogger("hypercorn.error").makeRecord("hypercorn.error", logging.INFO, "", 1, "stop", (), None)
    line = logging.Formatter("[%(process)d] [%(thread)d] %(processName)s %(message)s").format(record)
    assert line == f"[{os.getpid()}] [{threading.get_ident()}] {multiprocessing.current_process().name} stop"


def test_control_characters_are_escaped(capfd: pytest.CaptureFixture[str]) -> None:
    evil = "\x1b[2J\n2026-01-01 forged \x9b \u202e"
    logging.getLogger("fovea").warning("bad name %s", evil)
    try:
        raise ValueError(evil)
    except ValueError:
        logging.getLogger("fovea").exception("failed")
    lines = written(capfd)
    assert not [line for line in lines.splitlines() if line.startswith("2026-01-01")]
    assert lines.replace("\n", "").isprintable()
    assert "Traceback" in lines


def test_repeated_set_up_keeps_one_handler_and_one_thread(capfd: pytest.CaptureFixture[str]) -> None:
    logging.getLogger("fovea").info("first")
    threads, handlers = threading.active_count(), len(logging.getLogger().handlers)
    for log_format in ("json", "text") * 5:
        set_up_logs("info", log_format)
        logging.getLogger("fovea").info("again")
    assert (threading.active_count(), len(logging.getLogger().handlers)) == (threads, handlers)
    assert written(capfd).count("again") == 10


def test_uvicorn_handlers_are_replaced(capfd: pytest.CaptureFixture[str]) -> None:
    import uvicorn

    uvicorn.Config("main:app")  # configures logging, as `uvicorn main:app` does before it imports the application
    set_up_logs("info", "text")
    logging.getLogger("uvicorn.error").info("started")
    logging.getLogger("uvicorn.access").info("GET /")
    captured = written(capfd)
    assert captured.count("started") == 1
    assert "GET /" not in captured


def test_unread_stderr_blocks_neither_logging_nor_exit() -> None:
    process = start(f"for n in range({LINES}): logging.getLogger('fovea').info('x' * 200)\n")
    try:
        assert process.wait(END_S) == 0
    finally:
        process.kill()
        process.communicate()


def test_dropped_lines_are_counted_when_stderr_is_read_again() -> None:
    script = (
        f"for n in range({LINES}): logging.getLogger('fovea').info('x' * 200)\n"
        "print('logged', flush=True); sys.stdin.readline()\n"
        "from api.telemetry.logs import flush_logs; flush_logs(); flush_logs()\n"
    )
    process = start(script)
    assert process.stdout
    assert process.stdout.readline() == "logged\n"
    _, lines = process.communicate("go\n", END_S)
    [report] = [line for line in lines.splitlines() if "log lines dropped" in line]
    assert lines.count("x" * 200) + int(report.rpartition("count=")[2]) == LINES


def test_closed_stderr_does_not_disturb_logging() -> None:
    process = start("import os; os.close(2)\nfor n in range(10): logging.getLogger('fovea').info('x')\nprint('end')\n")
    assert process.communicate(timeout=END_S)[0] == "end\n"
    assert process.returncode == 0


@pytest.mark.skipif(sys.platform == "win32", reason="no fork")
def test_forked_process_logs_too() -> None:
    """gunicorn with --preload forks its workers after the application is made."""
    script = (
        "import os, warnings; warnings.simplefilter('ignore')\n"
        "logging.getLogger('fovea').info('from the parent')\n"
        "pid = os.fork()\n"
        "if not pid: logging.getLogger('fovea').info('from the child'); sys.exit()\n"
        "os.waitpid(pid, 0)\n"
    )
    _, lines = start(script).communicate(timeout=END_S)
    assert lines.count("from the parent") == 1
    assert lines.count("from the child") == 1
