"""What a person at a terminal, or a pipe, gives to the command line."""

import sys
from typing import BinaryIO, TextIO

_PROMPT = "Path of a picture: "


def ask_for_path(stdin: TextIO | None = None, stdout: TextIO | None = None) -> str | None:
    """Asks a person for a path until they give one; None at end of input, or when nobody sits there to ask.

    Quotes and a trailing space, as terminals add them to a dropped file, are taken off.
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
    """All bytes of standard input: one picture."""
    return (stdin or sys.stdin.buffer).read()
