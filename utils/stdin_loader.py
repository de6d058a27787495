"""Reads a path from a terminal, or a picture from a pipe."""

import sys
from typing import BinaryIO, TextIO

_PROMPT = "Path of a picture: "


def ask_for_path(stdin: TextIO | None = None, stdout: TextIO | None = None) -> str | None:
    """Prompts for a path until one is entered. Returns None at end of input, or if stdin is not a terminal.

    Removes quotes and spaces, which terminals add to the path of a dropped file.
    """
    stdin, stdout = stdin or sys.stdin, stdout or sys.stderr
    if not stdin.isatty():
        return None
    while True:
        stdout.write(_PROMPT)
        stdout.flush()
        line = stdin.readline()
        if not line:
            return None
        path = line.strip().strip("'\"")
        if path:
            return path


def read_stdin(stdin: BinaryIO | None = None) -> bytes:
    """Returns all bytes of standard input: one picture."""
    return (stdin or sys.stdin.buffer).read()
