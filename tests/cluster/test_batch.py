"""The pictures of a folder through Ray Data: what run_locally.py answers, once each, also after an interruption."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pyarrow.dataset
import pytest

from tests.cluster.serve_cluster import HA_PROXY
from tests.command_line import CommandLine
from tests.paths import ROOT
from tests.pictures_by_colour import colour_picture
from tests.server import until

pytestmark = pytest.mark.skipif(HA_PROXY, reason="no proxy takes part")

COMMAND = (sys.executable, "-m", "deploy.ray.batch")
BROKEN = ("07.png", "41.png")
PICTURES = 60


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pictures")
    for number in range(PICTURES):
        name = f"{number:02}.png"
        colour = ("red", "lime", "blue")[number % 3]
        (folder / name).write_bytes(b"broken" if name in BROKEN else colour_picture(colour, (20 + number, 30)))
    return folder


def rows(folder: Path) -> list[dict[str, object]]:
    found: list[dict[str, object]] = pyarrow.dataset.dataset(folder, format="parquet").to_table().to_pylist()
    return sorted(found, key=lambda row: str(row["path"]))


def test_a_folder_is_answered_once_also_after_an_interruption(
    pictures: Path,
    tiny_models: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    answers = tmp_path / "answers"
    chosen = {"API_MODELS_DIR": str(tiny_models), "API_DEFAULT_MODEL": "colour"}
    environment = {**os.environ, **chosen, "RAY_USAGE_STATS_ENABLED": "0", "RAY_ADDRESS": "local"}
    command = [*COMMAND, str(pictures), str(answers), "--actors", "1", "--block", "5"]

    process = subprocess.Popen(command, cwd=ROOT, env=environment, start_new_session=True)
    until(lambda: process.poll() is not None or len(list(answers.glob("part-*"))) >= 2)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    before = rows(answers)
    files = {file: file.stat().st_mtime_ns for file in answers.glob("part-*")}
    assert len(before) % 5 == 0

    done = subprocess.run(command, cwd=ROOT, env=environment, timeout=300, check=False)
    assert done.returncode == 1  # two pictures have no answer
    assert all(file.stat().st_mtime_ns == changed for file, changed in files.items())
    found = rows(answers)
    assert [row["path"] for row in found] == [str(file) for file in sorted(pictures.iterdir())]
    assert [str(row["path"])[-6:] for row in found if row["error"]] == list(BROKEN)

    printed = CommandLine(chosen, monkeypatch, capsys)(pictures, "--json").stdout
    expected = {one["image"]["filename"]: one["predictions"] for one in map(json.loads, printed.splitlines())}
    assert {row["path"]: json.loads(str(row["predictions"])) for row in found if not row["error"]} == expected
