"""The README's commands are run, and give what the README shows."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.process import running_service

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
ADDRESS = "http://127.0.0.1:8000"


@pytest.fixture(scope="module")
def base_url() -> Iterator[str]:
    with running_service() as service:
        yield service.base_url


def _curls() -> list[str]:
    commands = [line for block in re.findall(r"```bash\n(.*?)```", README, re.DOTALL) for line in block.splitlines()]
    return [command for command in commands if command.startswith("curl")]


def _without_times(answer: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in answer.items() if name not in ("timings_ms", "request_id")}


def _run(command: str, base_url: str) -> dict[str, Any]:
    arguments = shlex.split(command.replace(ADDRESS, base_url))
    answer: dict[str, Any] = json.loads(subprocess.run(arguments, cwd=ROOT, capture_output=True, check=True).stdout)
    return answer


def test_the_first_curl_gives_the_answer_that_is_shown(base_url: str) -> None:
    shown = json.loads(re.findall(r"```json\n(.*?)```", README, re.DOTALL)[0])
    answer = _run(_curls()[0], base_url)
    scores, shown_scores = ([p.pop("score") for p in a["predictions"]] for a in (answer, shown))
    assert scores == pytest.approx(shown_scores, abs=2e-3)  # another CPU's arithmetic
    assert _without_times(answer) == _without_times(shown)
    assert set(answer["timings_ms"]) == set(shown["timings_ms"])


@pytest.mark.parametrize("command", _curls())
def test_every_curl_works(base_url: str, command: str) -> None:
    assert _run(command, base_url)["predictions"][0]["label"] == "tiger cat"


def _sessions() -> list[tuple[str, Any]]:
    """The `$ curl ...` lines of console blocks, each with the JSON that is shown under it."""
    blocks = re.findall(r"```console\n(.*?)```", README, re.DOTALL)
    lines = [line for block in blocks for line in block.splitlines()]
    shown = [(command, answer) for command, answer in pairwise(lines) if command.startswith("$ curl")]
    return [(command.removeprefix("$ "), json.loads(answer)) for command, answer in shown]


def _without_moments(answer: Any) -> Any:  # noqa: ANN401 - JSON
    """Scores rounded, times and ids left out."""
    match answer:
        case dict():
            kept = {key: value for key, value in answer.items() if key not in ("timings_ms", "request_id", "since")}
            return {key: _without_moments(value) for key, value in kept.items()}
        case list():
            return [_without_moments(value) for value in answer]
        case float():
            return round(answer, 1)
        case _:
            return answer


def test_the_operator_s_session_goes_as_shown(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "models", tmp_path / "models")
    with running_service(API_MODELS_DIR=str(tmp_path / "models"), API_ADMIN_KEYS="boss") as service:
        for command, shown in _sessions():
            answer = _run(command, service.base_url)
            if "versions" in shown and "active" in shown:  # the swapped-out version may still be leaving memory
                answer["versions"] = [dict(v, state="", reason="") for v in answer["versions"]]
                shown["versions"] = [dict(v, state="", reason="") for v in shown["versions"]]
            assert _without_moments(answer) == _without_moments(shown), command


def test_the_error_that_is_shown_is_the_one_that_comes(base_url: str) -> None:
    shown = json.loads(re.findall(r"```json\n(.*?)```", README, re.DOTALL)[1])
    answer = httpx.post(f"{base_url}/infer?model=nope", content=b"").json()
    assert {**answer, "request_id": None} == {**shown, "request_id": None}


def test_the_command_line_prints_what_is_shown() -> None:
    block = next(b for b in re.findall(r"```console\n(.*?)```", README, re.DOTALL) if "run_locally" in b)
    command, *shown = block.rstrip().splitlines()
    arguments = [sys.executable, *shlex.split(command)[2:]]
    environment = {**os.environ, "COLUMNS": "100", "PYTHONIOENCODING": "utf-8"}
    done = subprocess.run(arguments, cwd=ROOT, capture_output=True, check=True, env=environment)
    printed = done.stdout.decode().rstrip().splitlines()
    assert printed[:-1] == shown[:-1]
    without_numbers = [re.sub(r"[\d.]+", "", line) for line in (printed[-1], shown[-1])]
    assert without_numbers[0] == without_numbers[1]


def test_the_classic_way_starts_the_service() -> None:
    """Word for word, but for the environment, which is this one, and the port."""
    assert "uvicorn main:app --reload" in README
    script = (
        "export $(grep -v '^#' api_settings.env | xargs) && "
        f"{sys.executable} -c 'from main import app, settings; print(app.title, settings.port)'"
    )
    done = subprocess.run(["sh", "-c", script], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.stdout == "Fovea 8000\n", done.stderr


def test_a_bad_setting_stops_the_start_in_a_line() -> None:
    done = subprocess.run(
        [sys.executable, "main.py"],
        cwd=ROOT,
        env={**os.environ, "API_PORT": "many"},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == 1
    assert "API_PORT=many: " in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("target", ["setup", "run", "test", "check", "format", "lock", "clean", "help"])
def test_make_help_lists_every_target(target: str) -> None:
    done = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True, check=True)
    assert re.search(rf"^  make {target} +\w", done.stdout, re.MULTILINE)


def test_every_file_the_readme_links_to_exists() -> None:
    for target in re.findall(r"\]\((?!http)([^)#]+)\)", README):
        assert (ROOT / target).exists(), target
