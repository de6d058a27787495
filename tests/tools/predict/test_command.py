"""Options of the command, and `--url`."""

import json
import os
import signal
from pathlib import Path
from threading import Thread

import pytest

from api import VERSION
from tests.command_line import CommandLine
from tests.conftest import Serve
from tests.pictures_by_colour import colour_picture
from tests.server import until


def labels(done_output: str) -> list[list[str]]:
    return [[each["label"] for each in json.loads(line)["predictions"]] for line in done_output.splitlines()]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ([], ["cat", "red, or green"]),
        (["--threshold", "0.7"], ["cat"]),
        (["--top-k", "1"], ["cat"]),
        (["--classes", "cat"], ["cat"]),
        (["--classes", "red, or green"], ["red, or green"]),
        (["--classes", "cat,2"], ["cat", "red, or green"]),
        (["--classes", "dog"], []),
        (["--classes", "cat,2", "--top-k", "1"], ["cat"]),
    ],
)
def test_predictions_are_selected(
    command: CommandLine, photos: Path, arguments: list[str], expected: list[str]
) -> None:
    done = command(photos / "a.jpg", "--json", "--model", "boxes", *arguments)
    assert labels(done.stdout) == [expected]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--classes", "catt"], "the model has no class 'catt'; it has: cat"),
        (["--classes", "7"], "no class '7'"),
        (["--threshold", "2"], "'2' is not a number from 0 to 1"),
        (["--every", "1h"], "'1h' is not a time such as 1s"),
        (["--font", "README.md"], "not a TrueType or OpenType font"),
        (["--json", "--format", "csv"], "not allowed with"),
        (["--watch"], "--watch needs a folder"),
        (["--url", "http://127.0.0.1:1"], "no answer from http://127.0.0.1:1"),
    ],
)
def test_wrong_arguments_are_status_2_with_a_message(
    command: CommandLine, photos: Path, arguments: list[str], message: str
) -> None:
    done = command(photos / "a.jpg", "--model", "boxes", *arguments)
    assert done.returncode == 2
    assert message in done.stderr


def test_help_has_examples_and_the_version_is_printed(command: CommandLine) -> None:
    assert "--save out --format coco --resume" in command("--help").stdout
    assert command("--version").stdout == f"fovea {VERSION}\n"


@pytest.mark.slow
def test_a_service_answers_as_the_model_here(
    command: CommandLine, serve: Serve, task_models: Path, photos: Path, tmp_path: Path
) -> None:
    server = serve(models_dir=task_models, default_model="colour")
    url = f"http://127.0.0.1:{server.port}"
    for model in ("boxes", "pose", "obb", "masks", "depth", "text", "colour", "vector"):
        here = command(photos, "--format", "ndjson", "--model", model)
        there = command(photos, "--format", "ndjson", "--model", model, "--url", url)
        assert there.returncode == 0, there.stderr
        assert there.stdout == here.stdout
    command(photos, "--model", "boxes", "--save", tmp_path / "here")
    command(photos, "--model", "boxes", "--save", tmp_path / "there", "--url", url)
    for name in ("a.jpg", "b.png", "sub/c.webp"):
        drawn = [(tmp_path / where / "annotated" / name).read_bytes() for where in ("here", "there")]
        assert drawn[0] == drawn[1]


def test_errors_of_the_service_are_named(command: CommandLine, serve: Serve, photos: Path) -> None:
    url = f"http://127.0.0.1:{serve(keys='secret').port}"
    (photos / "bad.png").write_bytes(b"bad")
    rejected = command(photos, "--url", url)
    assert rejected.returncode == 2
    assert "A key is needed" in rejected.stderr
    done = command(photos, "--url", url, "--json", FOVEA_KEY="secret")
    assert done.returncode == 1
    assert "bad.png: This is not a picture" in done.stderr
    assert len(done.stdout.splitlines()) == 3


def test_watch_takes_pictures_as_they_arrive(
    command: CommandLine, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tools.predict.command.POLL_S", 0.05)
    out = tmp_path / "out"

    def add_and_end() -> None:
        until((out / "annotated/sub/c.webp").exists)
        (photos / "new.png").write_bytes(colour_picture("red"))
        until((out / "annotated/new.png").exists)
        os.kill(os.getpid(), signal.SIGINT)

    helper = Thread(target=add_and_end)
    helper.start()
    done = command(photos, "--watch", "--save", out, "--format", "json")
    helper.join()
    assert done.returncode == 0, done.stderr
    assert len(json.loads((out / "predictions.json").read_text())) == 4
