"""The README's commands; those of curl are in tests/e2e/test_curl_commands.py."""

import os
import re
import shlex
import subprocess
import sys

import pytest

from tests.pages import README, blocks, read
from tests.paths import ROOT


def test_the_readme_has_at_most_150_lines() -> None:
    assert len(read(README).splitlines()) <= 150


def test_the_readme_begins_with_the_two_commands() -> None:
    first = blocks(README)[0].text
    assert [line.split("#")[0].strip() for line in first.splitlines()] == ["make run", "make test"]


@pytest.mark.slow
def test_the_command_line_prints_what_the_readme_shows() -> None:
    [block] = [block for block in blocks(README) if block.language == "console"]
    command, _, shown = block.text.partition("\n")
    script = shlex.split(command.removeprefix("$ "))[1:]
    environment = {**os.environ, "COLUMNS": "100", "PYTHONIOENCODING": "utf-8"}
    done = subprocess.run([sys.executable, *script], cwd=ROOT, capture_output=True, check=True, env=environment)
    assert _words(done.stdout.decode()) == _words(shown)


@pytest.mark.slow
def test_the_settings_file_can_be_exported_as_the_readme_says() -> None:
    [block] = [block for block in blocks(README) if "uvicorn main:app" in block.text]
    [export] = [line for line in block.text.splitlines() if line.startswith("export ")]
    python = f"{sys.executable} -c 'from main import app, settings; print(app.title, settings.port)'"
    done = subprocess.run(["sh", "-c", f"{export} && {python}"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.stdout == "Fovea 8000\n", done.stderr


def test_an_invalid_setting_stops_the_start_with_a_message() -> None:
    environment = {**os.environ, "API_PORT": "many"}
    command = [sys.executable, "main.py"]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "API_PORT=many: " in done.stderr
    assert "Traceback" not in done.stderr


def _words(text: str) -> list[str]:
    return re.findall(r"[a-z_]{2,}", text.lower())
