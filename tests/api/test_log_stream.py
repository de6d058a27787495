"""A log line is written at once or lost, and what was lost is told."""

import logging
import os
import socket
import time
import tty
from pathlib import Path

import pytest

from api import log_stream
from api.log_stream import LogStream, sender

LINE = "x" * 99 + "\n"
MANY = 20_000  # more than a pipe or a socket holds


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What the stream says of itself goes to a list instead of the log, which is this stream in a real process."""
    lines: list[str] = []
    logger = logging.Logger("here")
    handler = logging.Handler()
    handler.emit = lambda record: lines.append(record.getMessage())  # type: ignore[method-assign]  # caught here
    logger.addHandler(handler)
    monkeypatch.setattr(log_stream, "_log", logger)
    return lines


def ends(kind: str) -> tuple[int, int]:
    """Where to read and where to write."""
    if kind == "pipe":
        return os.pipe()
    if kind == "terminal":
        ours, theirs = os.openpty()
        tty.setraw(theirs)
        return ours, theirs
    one, other = socket.socketpair()
    return one.detach(), other.detach()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # a process keeps its stream to the end
@pytest.mark.parametrize("proc", [True, False])
@pytest.mark.parametrize("kind", ["pipe", "terminal", "socket"])
def test_a_reader_that_stalls_holds_nobody_up_and_is_told_what_it_missed(
    kind: str, told: list[str], proc: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    read, write = ends(kind)
    if not proc:  # as for another user's pipe
        monkeypatch.setattr(os, "open", _refuse)
    stream = LogStream(sender(write))
    started = time.monotonic()
    for _ in range(MANY):
        stream.write(LINE)
    assert time.monotonic() - started < 5
    os.set_blocking(read, False)
    taken = b""
    while not taken or len(taken) % 100 or not told:
        try:
            taken += os.read(read, 1 << 20)
        except BlockingIOError:
            stream.write(LINE)
    assert set(taken.decode().splitlines(keepends=True)) == {LINE}, "no line is cut"
    assert told, "more than once where lines are lost again while it is said"
    assert all(int(message.split()[0]) > 0 for message in told)
    for handle in (read, write):
        os.close(handle)


def _refuse(*_: object) -> int:
    raise PermissionError


def test_a_pipe_that_is_closed_and_a_disk_that_is_full_harm_nobody() -> None:
    read, write = os.pipe()
    stream = LogStream(sender(write))
    os.close(read)
    full = LogStream(sender(os.open("/dev/full", os.O_WRONLY)))
    for _ in range(3):
        assert stream.write(LINE) == full.write(LINE) == len(LINE)
    os.close(write)


def test_a_file_gets_every_line_whatever_its_characters(tmp_path: Path) -> None:
    handle = os.open(tmp_path / "log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    stream = LogStream(sender(handle))
    for text in ("grün\n", "half \ud800\n"):
        stream.write(text)
    os.close(handle)
    assert (tmp_path / "log").read_text(encoding="utf-8") == "grün\nhalf \\ud800\n"
