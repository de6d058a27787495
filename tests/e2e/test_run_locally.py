"""run_locally.py on hundreds of photos: interrupted and resumed, and its COCO file read by pycocotools."""

import contextlib
import io
import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest
from pycocotools.coco import COCO

from tests.pages import blocks
from tests.paths import PHOTOS, ROOT
from tests.server import until
from tools.predict.journal import FILE

COUNT = 250
SMALL_BYTES = 20_000
KILLED, INTERRUPTED = -signal.SIGKILL, 130


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Links to small photos of the tests under 250 names, in sub-folders."""
    folder = tmp_path_factory.mktemp("many") / "photos"
    files = sorted(file for file in PHOTOS.glob("*.webp") if file.stat().st_size < SMALL_BYTES)
    for number in range(COUNT):
        file = files[number % len(files)]
        link = folder / f"day {number % 7}" / f"{number:03}{file.suffix}"
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(file)
    return folder


def start(arguments: Sequence[object]) -> subprocess.Popen[str]:
    command = [sys.executable, str(ROOT / "run_locally.py"), *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def finish(arguments: Sequence[object]) -> str:
    process = start(arguments)
    printed, errors = process.communicate(timeout=600)
    assert process.returncode == 0, errors
    return printed + errors


def results(folder: Path) -> int:
    file = folder / FILE
    return file.read_bytes().count(b"\n") - 1 if file.exists() else 0


def interrupt_after(arguments: Sequence[object], folder: Path, more: int, number: int) -> tuple[int, str]:
    """Sends a signal once `more` results are there; returns the exit status and what was printed on stderr."""
    before = results(folder)
    process = start(arguments)
    until(lambda: results(folder) >= before + more or process.poll() is not None)
    process.send_signal(number)
    _, errors = process.communicate(timeout=60)
    return process.returncode, errors


def test_an_interrupted_run_that_is_resumed_gives_the_same_files(photos: Path, tmp_path: Path) -> None:
    def arguments(name: str) -> list[object]:
        return [photos, "--save", tmp_path / name, "--format", "coco", "--model", "picodet-s-416"]

    finish(arguments("whole"))
    status, errors = interrupt_after(arguments("resumed"), tmp_path / "resumed", 30, signal.SIGINT)
    assert status == INTERRUPTED, errors
    assert f"of {COUNT} done. --resume continues." in errors
    done = results(tmp_path / "resumed")
    assert f"Interrupted: {done} of" in errors
    assert not (tmp_path / "resumed/coco.json").exists()
    for _ in range(2):
        status, _ = interrupt_after([*arguments("resumed"), "--resume"], tmp_path / "resumed", 30, signal.SIGKILL)
        assert status == KILLED
    assert done + 60 <= results(tmp_path / "resumed") < COUNT
    finish([*arguments("resumed"), "--resume"])
    assert results(tmp_path / "resumed") == COUNT  # none was made twice
    assert (tmp_path / "resumed/coco.json").read_bytes() == (tmp_path / "whole/coco.json").read_bytes()
    files = {name: _files(tmp_path / name) for name in ("whole", "resumed")}
    assert files["resumed"] == files["whole"]
    assert len(files["whole"]) == COUNT + 1


def _files(folder: Path) -> dict[str, bytes]:
    found = (file for file in folder.rglob("*") if file.is_file() and file.name != FILE)
    return {str(file.relative_to(folder)): file.read_bytes() for file in found}


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # of pycocotools
@pytest.mark.parametrize("model", ["picodet-s-416", "u2netp"])
def test_pycocotools_reads_boxes_and_masks(tmp_path: Path, model: str) -> None:
    folder = tmp_path / "photos"
    folder.mkdir()
    for file in sorted(PHOTOS.glob("gcompris_farm_*.webp")):
        (folder / file.name).symlink_to(file)
    finish([folder, "--model", model, "--save", tmp_path / "out", "--format", "coco", "--threshold", "0.3"])
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO(str(tmp_path / "out" / "coco.json"))
        loaded = truth.loadRes([dict(annotation) for annotation in truth.anns.values()])  # it changes them
    assert len(loaded.anns) == len(truth.anns) > 0
    for annotation in loaded.anns.values():
        image = truth.imgs[annotation["image_id"]]
        assert (folder / image["file_name"]).is_file()
        assert 0 < annotation["score"] <= 1
        left, top, width, height = annotation["bbox"]
        assert left + width <= image["width"] + 0.01
        assert top + height <= image["height"] + 0.01
        if model == "u2netp":
            mask = truth.annToMask(annotation)
            saved = sorted((tmp_path / "out/masks").glob(f"{image['file_name']}-1-*.png"))[0]
            pixels = cv2.imread(str(saved), cv2.IMREAD_GRAYSCALE)
            assert pixels is not None
            np.testing.assert_array_equal(mask > 0, pixels > 127)
            assert mask.sum() == truth.anns[annotation["id"]]["area"]


def test_the_command_of_the_page_prints_what_it_shows(tmp_path: Path) -> None:
    [block] = [block for block in blocks(ROOT / "docs" / "command-line.md") if block.language == "console"]
    command, _, shown = block.text.partition("\n")
    script = shlex.split(command.removeprefix("$ "))[1:]
    script = [word if word != "out" else str(tmp_path / "out") for word in script]
    environment = {**os.environ, "COLUMNS": "200", "PYTHONIOENCODING": "utf-8"}
    done = subprocess.run([sys.executable, *script], cwd=ROOT, capture_output=True, check=True, env=environment)
    cells = [line.replace(f"{tmp_path}/", "").split() for line in done.stderr.decode().splitlines()]
    assert [row for row in cells if row[0] == "│"] == [line.split() for line in shown.splitlines() if line[0] == "│"]
