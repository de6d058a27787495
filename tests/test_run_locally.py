"""run_locally.py as a command, and its `main` in this process, which saves the start of an interpreter."""

import json
import os
import pty
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.command_line import CommandLine
from tests.paths import ROOT
from tests.pictures_by_colour import colour_picture
from tests.tiny_models import add_model, colour_graph

CAT = ROOT / "tests" / "data" / "cat.jpg"
DEFAULT_MODEL = "efficientnet-lite0"


@pytest.fixture
def environment(tiny_models: Path) -> dict[str, str]:
    return {**os.environ, "API_MODELS_DIR": str(tiny_models), "API_DEFAULT_MODEL": "colour"}


@pytest.fixture
def run_here(
    environment: dict[str, str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> CommandLine:
    return CommandLine(environment, monkeypatch, capsys)


def run(*arguments: str, env: dict[str, str] | None = None, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, str(ROOT / "run_locally.py"), *arguments]
    return subprocess.run(command, input=stdin, capture_output=True, env=env, timeout=60, check=False)


def test_a_picture_gives_a_table_of_labels_scores_and_stages(run_here: CommandLine) -> None:
    done = run_here(str(CAT), "--top-k", "2", API_MODELS_DIR=str(ROOT / "models"), API_DEFAULT_MODEL=DEFAULT_MODEL)
    assert done.returncode == 0, done.stderr
    text = done.stdout
    assert "JPEG 451 x 300" in text
    assert "tiger cat" in text
    assert "0.3862" in text
    assert "lynx" not in text
    for stage in ("decode", "preprocess", "inference", "postprocess", "total"):
        assert f"{stage} " in text


def test_each_table_has_the_scores_of_its_picture(run_here: CommandLine, tmp_path: Path) -> None:
    for name in ("a.png", "b.png"):
        (tmp_path / name).write_bytes(colour_picture("red" if name == "a.png" else "#a05050"))
    done = run_here(str(tmp_path), "--top-k", "1")
    scores = [float(found) for found in re.findall(r"red .*(0\.\d{4}|1\.0000) ", done.stdout)]
    lines = run_here(str(tmp_path), "--top-k", "1", "--json").stdout.splitlines()
    assert scores == [round(json.loads(line)["predictions"][0]["score"], 4) for line in lines]
    assert scores[0] != scores[1]


def test_a_folder_gives_one_json_object_a_line_in_order(run_here: CommandLine, tmp_path: Path) -> None:
    for name, colour in [("b.png", "blue"), ("a.png", "red")]:
        (tmp_path / name).write_bytes(colour_picture(colour))
    (tmp_path / "notes.txt").write_text("not a picture")
    done = run_here(str(tmp_path), "--json")
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    assert [Path(answer["image"]["filename"]).name for answer in answers] == ["a.png", "b.png"]
    assert [answer["predictions"][0]["label"] for answer in answers] == ["red", "blue"]
    assert answers[0]["model"] == {"name": "colour", "version": 1, "task": "image-classification", "precision": "exact"}


def test_the_picture_may_come_from_a_pipe(environment: dict[str, str]) -> None:
    done = run("--json", env=environment, stdin=colour_picture("blue"))
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["predictions"][0]["label"] == "blue"


def test_a_dash_is_the_picture_from_stdin(run_here: CommandLine) -> None:
    done = run_here("-", "--json", stdin=colour_picture("blue"))
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["predictions"][0]["label"] == "blue"


def test_a_bad_picture_is_named_on_stderr_and_the_others_are_answered(run_here: CommandLine, tmp_path: Path) -> None:
    (tmp_path / "bad.png").write_bytes(b"not a picture")
    (tmp_path / "good.png").write_bytes(colour_picture("red"))
    done = run_here(str(tmp_path), "--json")
    assert done.returncode == 1
    assert len(done.stdout.splitlines()) == 1
    assert "bad.png: " in done.stderr
    assert "good.png" not in done.stderr


def test_a_missing_path_is_named_on_stderr_and_the_others_are_answered(run_here: CommandLine, tmp_path: Path) -> None:
    (tmp_path / "good.png").write_bytes(colour_picture("red"))
    (tmp_path / "empty").mkdir()
    done = run_here("no/such.jpg", str(tmp_path / "empty"), str(tmp_path / "good.png"), "--json")
    assert done.returncode == 1
    assert json.loads(done.stdout)["predictions"][0]["label"] == "red"
    first, second = done.stderr.splitlines()
    assert first.startswith("no/such.jpg: ")
    assert second.startswith(f"{tmp_path / 'empty'}: ")


def test_a_model_is_chosen_by_name(run_here: CommandLine, tmp_path: Path) -> None:
    add_model(tmp_path, "other", colour_graph(), labels=("r", "g", "b"))
    arguments = ("-", "--json", "--model", "other")
    done = run_here(*arguments, stdin=colour_picture("red"), API_MODELS_DIR=str(tmp_path))
    assert json.loads(done.stdout)["predictions"][0]["label"] == "r"


def test_the_choices_in_the_state_file_apply(run_here: CommandLine, tmp_path: Path) -> None:
    add_model(tmp_path, "colour", colour_graph(), version=1)
    add_model(tmp_path, "colour", colour_graph(gain=2), version=2)
    add_model(tmp_path, "other", colour_graph())
    state = tmp_path / "fovea-state.json"
    for chosen, expected in (
        ("{}", ("colour", 2)),
        ('{"active": {"colour": 1}}', ("colour", 1)),
        ('{"default": "other"}', ("other", 1)),
    ):
        state.write_text(chosen)
        done = run_here("-", "--json", stdin=colour_picture("red"), API_MODELS_DIR=str(tmp_path))
        model = json.loads(done.stdout)["model"]
        assert (model["name"], model["version"]) == expected


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--top-k", "0", "-"], "from 1 to 1000"),
        (["--colour"], "unrecognized"),
    ],
)
def test_wrong_arguments_are_status_2_with_a_message(run_here: CommandLine, arguments: list[str], message: str) -> None:
    done = run_here(*arguments)
    assert done.returncode == 2
    assert message in done.stderr


@pytest.mark.slow
def test_the_command_ends_with_status_2_and_without_a_traceback(environment: dict[str, str]) -> None:
    done = run("--model", "nope", "-", env=environment)
    assert done.returncode == 2
    assert b"There is: colour" in done.stderr
    assert b"Traceback" not in done.stderr


@pytest.mark.slow
def test_without_an_argument_it_asks_on_a_terminal(environment: dict[str, str]) -> None:
    ours, theirs = pty.openpty()
    os.write(ours, f"'{CAT}' \n".encode())
    command = [sys.executable, str(ROOT / "run_locally.py"), "--json"]
    done = subprocess.run(command, stdin=theirs, capture_output=True, env=environment, timeout=60, check=False)
    os.close(theirs)
    os.close(ours)
    assert done.returncode == 0, done.stderr
    assert b"Path of a picture" in done.stderr
    assert json.loads(done.stdout)["image"]["width"] == 451


@pytest.mark.slow
def test_a_closed_pipe_prints_no_error(environment: dict[str, str], tmp_path: Path) -> None:
    for number in range(200):
        (tmp_path / f"{number}.png").write_bytes(colour_picture("red"))
    command = f"{sys.executable} {ROOT / 'run_locally.py'} {tmp_path} --json | head -1"
    done = subprocess.run(["sh", "-c", command], capture_output=True, env=environment, timeout=60, check=False)
    assert done.stderr == b""
