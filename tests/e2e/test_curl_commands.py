"""The curl commands in README and docs are run, and their output is compared with what the pages show."""

import json
import os
import re
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.pages import README, blocks, page_id
from tests.paths import ROOT
from tests.process import running_service

ADDRESS = "http://127.0.0.1:8000"
ADMIN_KEY = "boss"
PAGES_WITH_COMMANDS = [
    README,
    *(ROOT / "docs" / name for name in ("api.md", "calling.md", "embeddings.md", "explain.md", "models.md")),
]
# Present in both, with any value.
_VARIABLE = {
    "request_id",
    "detail",
    "reason",
    "heatmap",
    "since",
    "decode",
    "preprocess",
    "queue",
    "inference",
    "postprocess",
    "total",
}


@pytest.fixture(scope="module")
def base_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    models = tmp_path_factory.mktemp("readme") / "models"
    shutil.copytree(ROOT / "models", models)
    with running_service(API_MODELS_DIR=str(models), API_ADMIN_KEYS=ADMIN_KEY) as service:
        yield service.base_url


@pytest.mark.parametrize("page", PAGES_WITH_COMMANDS, ids=page_id)
def test_every_curl_command_works_and_answers_as_shown(base_url: str, page: Path) -> None:
    """In the order of the page: later commands may need what earlier ones did."""
    commands = _curl_commands(page)
    assert commands
    for command, shown in commands:
        status, answer = _run(command, base_url)
        expected = range(200, 300) if shown is None or "status" not in shown else [shown["status"]]
        assert status in expected, f"{command}\n{answer}"
        assert shown is None or not _differences(shown, answer), f"{command}\n{answer}"


def _curl_commands(page: Path) -> list[tuple[str, Any]]:
    """Each curl command of the page's shell blocks; the last of a block with the JSON that the next block shows."""
    found: list[tuple[str, Any]] = []
    for block in blocks(page):
        if block.language == "sh":
            found += [(line, None) for line in block.text.splitlines() if line.startswith("curl ")]
        elif block.language == "json" and block.follows and found:
            found[-1] = (found[-1][0], json.loads(block.text))
    return found


def _run(command: str, base_url: str) -> tuple[int, Any]:
    """The response's status and its JSON; None for a response that the command writes to a file."""
    command = re.sub(r" -o [\w.]+", f" -o {os.devnull}", command)
    arguments = [*shlex.split(command.replace(ADDRESS, base_url)), "--write-out", "\n%{http_code}"]
    done = subprocess.run(arguments, cwd=ROOT, capture_output=True, check=True, text=True)
    body, _, status = done.stdout.rpartition("\n")
    return int(status), json.loads(body) if body else None


def _differences(shown: Any, answer: Any, path: str = "") -> list[str]:  # noqa: ANN401 - JSON
    """What differs beyond the arithmetic of another processor, and texts and times that vary."""
    match shown, answer:
        case dict(), dict():
            missing = [f"{path}.{key}: only in one" for key in shown.keys() ^ answer.keys()]
            both = [key for key in shown if key in answer and key not in _VARIABLE]
            return missing + [text for key in both for text in _differences(shown[key], answer[key], f"{path}.{key}")]
        case list(), list() if len(shown) == len(answer):
            pairs = enumerate(zip(shown, answer, strict=True))
            return [text for index, (a, b) in pairs for text in _differences(a, b, f"{path}[{index}]")]
        case float(), float() | int():
            same = abs(shown - answer) <= 0.01 + 0.005 * abs(shown)
        case _:
            same = shown == answer
    return [] if same else [f"{path}: {shown!r} is shown, {answer!r} came"]
