"""Modules that only Unix has are imported where they are used, so that the application starts on Windows."""

import subprocess
import sys

import pytest

from tests.paths import ROOT

IMPORT_ALL = """
import sys
from importlib import import_module
from pathlib import Path

UNIX = ("fcntl", "grp", "pty", "pwd", "resource", "termios")
for name in UNIX:
    sys.modules[name] = None
for folder in sys.argv[1:]:
    for file in sorted(Path(folder).rglob("*.py")):
        module = ".".join(file.with_suffix("").parts).removesuffix(".__init__")
        try:
            import_module(module)
        except ModuleNotFoundError as error:
            if error.name not in UNIX:
                raise
            print(f"{module}: {error.name}")
"""


@pytest.mark.slow
def test_loaders_and_utils_import_without_unix_modules() -> None:
    done = subprocess.run(
        [sys.executable, "-c", IMPORT_ALL, "loaders", "utils"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines() == []
