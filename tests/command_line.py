"""run_locally.py's `main` in the test process, which saves the start of an interpreter."""

import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from io import BytesIO, TextIOWrapper

import pytest

from run_locally import main


@dataclass(frozen=True)
class CommandLine:
    """`environment`: settings of every run."""

    environment: Mapping[str, str]
    monkeypatch: pytest.MonkeyPatch
    capsys: pytest.CaptureFixture[str]

    def __call__(self, *arguments: object, stdin: bytes = b"", **settings: str) -> subprocess.CompletedProcess[str]:
        for name, value in (dict(self.environment) | settings).items():
            self.monkeypatch.setenv(name, value)
        self.monkeypatch.setattr(sys, "stdin", TextIOWrapper(BytesIO(stdin)))
        words = [str(argument) for argument in arguments]
        try:
            status = main(words)
        except SystemExit as ended:
            status = int(ended.code or 0)
        printed = self.capsys.readouterr()
        return subprocess.CompletedProcess(words, status, printed.out, printed.err)
