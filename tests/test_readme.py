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

from tests.paths import ROOT
from tests.process import running_service

README = (ROOT / "README.md").read_text(encoding="utf-8")
ADDRESS = "http://127.0.0.1:8000"
_NUMBER = re.compile(r"\d+(?:\.\d+)?")


@pytest.fixture(scope="module")
def base_url() -> Iterator[str]:
    with running_service() as service:
        yield service.base_url


def _curls() -> list[str]:
    commands = [line for block in re.findall(r"```bash\n(.*?)```", README, re.DOTALL) for line in block.splitlines()]
    return [command for command in commands if command.startswith("curl")]


def _without_times(answer: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in answer.items() if name not in ("timings_ms", "request_id")}


def _printed(command: str, base_url: str) -> str:
    arguments = shlex.split(command.replace(ADDRESS, base_url))
    return subprocess.run(arguments, cwd=ROOT, capture_output=True, check=True, text=True).stdout


def _run(command: str, base_url: str) -> dict[str, Any]:
    answer: dict[str, Any] = json.loads(_printed(command, base_url))
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
    answer = _run(command, base_url)
    [first, *_] = answer.get("results", [answer])
    assert first["predictions"][0]["label"] == "tiger cat"


def test_the_batch_gives_what_is_shown(base_url: str) -> None:
    [command] = [command for command in _curls() if "/infer/batch" in command]
    shown = json.loads(re.findall(r"```json\n(.*?)```", README, re.DOTALL)[1])
    assert _without_moments(_run(command, base_url)) == _without_moments(shown)


def test_the_streamed_batch_gives_the_lines_that_are_shown(base_url: str) -> None:
    """In the order of completion, which may be another."""
    [block] = [b for b in re.findall(r"```console\n(.*?)```", README, re.DOTALL) if "stream=true" in b]
    command, *shown = block.splitlines()
    printed = _printed(command.removeprefix("$ "), base_url).splitlines()
    answers, expected = ([_without_moments(json.loads(line)) for line in lines] for lines in (printed, shown))
    assert sorted(answers, key=lambda line: line["index"]) == sorted(expected, key=lambda line: line["index"])


def _sessions() -> list[tuple[str, Any]]:
    """The `$ curl ...` lines of console blocks, each with the JSON that is shown under it."""
    blocks = re.findall(r"```console\n(.*?)```", README, re.DOTALL)
    lines = [line for block in blocks for line in block.splitlines()]
    sessions = [pair for pair in pairwise(lines) if pair[0].startswith("$ curl") and "stream=true" not in pair[0]]
    return [(command.removeprefix("$ "), json.loads(answer)) for command, answer in sessions]


def _without_moments(answer: Any) -> Any:  # noqa: ANN401 - JSON
    """Scores rounded, times, ids and what is optional left out."""
    match answer:
        case dict():
            kept = {key: value for key, value in answer.items() if key not in ("timings_ms", "request_id", "since")}
            return {key: _without_moments(value) for key, value in kept.items()}
        case list():
            return [_without_moments(value) for value in answer]
        case float():
            return round(answer, 1)
        case str():
            return answer.replace(", HEIC", "")  # read here, not by who has requirements.txt alone
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
    shown = json.loads(re.findall(r"```json\n(.*?)```", README, re.DOTALL)[2])
    answer = httpx.post(f"{base_url}/infer?model=nope", content=b"").json()
    assert {**answer, "request_id": None} == {**shown, "request_id": None}


def test_the_command_line_prints_what_is_shown() -> None:
    block = next(b for b in re.findall(r"```console\n(.*?)```", README, re.DOTALL) if "run_locally" in b)
    command, *shown = block.rstrip().splitlines()
    arguments = [sys.executable, *shlex.split(command)[2:]]
    environment = {**os.environ, "COLUMNS": "100", "PYTHONIOENCODING": "utf-8"}
    done = subprocess.run(arguments, cwd=ROOT, capture_output=True, check=True, env=environment)
    printed = done.stdout.decode().rstrip().splitlines()
    assert [_NUMBER.sub("", line) for line in printed] == [_NUMBER.sub("", line) for line in shown]
    numbers, shown_numbers = (
        [float(number) for line in lines[:-1] for number in _NUMBER.findall(line)] for lines in (printed, shown)
    )
    assert numbers == pytest.approx(shown_numbers, abs=2e-3)  # another CPU's arithmetic


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
