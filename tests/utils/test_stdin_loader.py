"""Paths from a pseudo-terminal, and pictures from pipes."""

import os
import subprocess
import sys
from collections.abc import Iterator
from io import BytesIO, StringIO
from typing import TextIO

import pytest

from tests.paths import ROOT
from utils.stdin_loader import ask_for_path, read_stdin

pty = pytest.importorskip("pty", reason="no pseudo-terminals on this system")

END_OF_INPUT = b"\x04"  # Ctrl-D
PROMPT = "Path of a picture: "
ASK = "from utils.stdin_loader import ask_for_path; print(repr(ask_for_path()))"
COPY = "import sys; from utils.stdin_loader import read_stdin; sys.stdout.buffer.write(read_stdin())"


class Terminal:
    """`type` simulates the keyboard, and `stdin` is what the program reads."""

    def __init__(self) -> None:
        self.keyboard, self.program = pty.openpty()

    def type(self, typed: bytes) -> None:
        os.write(self.keyboard, typed)

    def stdin(self) -> TextIO:
        return os.fdopen(os.dup(self.program), encoding="utf-8")

    def close(self) -> None:
        os.close(self.keyboard)
        os.close(self.program)


@pytest.fixture
def terminal() -> Iterator[Terminal]:
    made = Terminal()
    yield made
    made.close()


@pytest.mark.parametrize(
    ("typed", "path"),
    [
        (b"cat.jpg\n", "cat.jpg"),
        (b"  my cat.jpg  \n", "my cat.jpg"),
        (b"'pictures/my cat.jpg' \n", "pictures/my cat.jpg"),
        (b'"C:\\cat.jpg"\n', "C:\\cat.jpg"),
        ("Kätzchen.jpg\n".encode(), "Kätzchen.jpg"),
        (b"cat.jpg\ndog.jpg\n", "cat.jpg"),
    ],
)
def test_terminal_is_prompted_for_one_path(terminal: Terminal, typed: bytes, path: str) -> None:
    terminal.type(typed)
    prompts = StringIO()
    with terminal.stdin() as stdin:
        assert ask_for_path(stdin, prompts) == path
    assert prompts.getvalue() == PROMPT


def test_empty_input_prompts_again(terminal: Terminal) -> None:
    terminal.type(b"\n   \n''\ncat.jpg\n")
    prompts = StringIO()
    with terminal.stdin() as stdin:
        assert ask_for_path(stdin, prompts) == "cat.jpg"
    assert prompts.getvalue() == PROMPT * 4


def test_end_of_input_returns_none(terminal: Terminal) -> None:
    terminal.type(END_OF_INPUT)
    with terminal.stdin() as stdin:
        assert ask_for_path(stdin, StringIO()) is None


def test_pipe_is_never_prompted() -> None:
    prompts = StringIO()
    assert ask_for_path(StringIO("cat.jpg\n"), prompts) is None
    assert prompts.getvalue() == ""


def test_prompt_goes_to_stderr(terminal: Terminal) -> None:
    terminal.type(b"cat.jpg\n")
    command = [sys.executable, "-c", ASK]
    done = subprocess.run(
        command, cwd=ROOT, stdin=terminal.program, capture_output=True, text=True, check=True, timeout=60
    )
    assert (done.stdout, done.stderr) == ("'cat.jpg'\n", PROMPT)


def test_bytes_from_a_pipe_come_unchanged() -> None:
    data = bytes(range(256)) * 1000 + b"\r\n\x1a"
    done = subprocess.run(
        [sys.executable, "-c", COPY], cwd=ROOT, input=data, capture_output=True, check=True, timeout=60
    )
    assert done.stdout == data


def test_an_empty_pipe_gives_no_bytes() -> None:
    assert read_stdin(BytesIO()) == b""
