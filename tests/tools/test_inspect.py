"""`python -m tools.inspect` as a command."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.loaders.repository.specs.graphs import classifier
from tests.paths import ROOT
from tests.tiny_models import COLOURS, add_model, colour_graph
from tools.inspect import main


@pytest.fixture
def colours(tmp_path: Path) -> Path:
    for version in (2, 10):
        add_model(tmp_path, "colours", colour_graph(), version=version)
    return tmp_path / "colours"


def as_json(path: Path, capsys: pytest.CaptureFixture[str]) -> dict[str, dict[str, object]]:
    assert main([str(path), "--json"]) == 0
    fields: dict[str, dict[str, object]] = json.loads(capsys.readouterr().out)["fields"]
    return fields


def test_each_field_is_shown_with_what_decided_it() -> None:
    call = [sys.executable, "-m", "tools.inspect", "models/efficientnet-lite0"]
    done = subprocess.run(call, cwd=ROOT, capture_output=True, text=True, check=True)
    row = next(line for line in done.stdout.splitlines() if "preprocess.size" in line)
    assert [cell.strip() for cell in row.strip("│").split("│")] == ["preprocess.size", "[224,224]", "model.toml"]
    assert "warning" not in done.stdout
    assert not done.stderr


def test_warnings_follow_the_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    classifier(tmp_path / "model.onnx")
    assert main([str(tmp_path / "model.onnx")]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert any(line.startswith("warning: mean/std are not recorded in this export") for line in lines)


@pytest.mark.parametrize("place", ["", "10", "10/model.onnx"])
def test_folder_version_and_file_show_the_same_model(
    colours: Path, place: str, capsys: pytest.CaptureFixture[str]
) -> None:
    fields = as_json(colours / place, capsys)
    assert fields["labels"] == {"value": list(COLOURS), "decided_by": "labels.txt"}
    assert fields["preprocess.resize"]["decided_by"] == "model.toml"


def test_files_beside_several_graphs_describe_none(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("one.onnx", "two.onnx"):
        classifier(tmp_path / name)
    (tmp_path / "model.toml").write_text('task = "tensor"')
    assert as_json(tmp_path / "one.onnx", capsys)["task"]["value"] == "image-classification"
    (tmp_path / "two.onnx").unlink()
    assert as_json(tmp_path / "one.onnx", capsys)["task"]["value"] == "tensor"


@pytest.mark.parametrize(
    ("text", "problem"), [("task = 3", "model.toml: task"), ("", "no .onnx file")], ids=["toml", "empty"]
)
def test_an_invalid_model_is_one_line_on_stderr(
    tmp_path: Path, text: str, problem: str, capsys: pytest.CaptureFixture[str]
) -> None:
    if text:
        classifier(tmp_path / "onnx" / "model.onnx")
        (tmp_path / "model.toml").write_text(text)
    assert main([str(tmp_path)]) == 1
    shown = capsys.readouterr()
    assert problem in shown.err
    assert len(shown.err.splitlines()) == 1
    assert not shown.out


def test_a_missing_path_is_status_2(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="2"):
        main([str(tmp_path / "nothing")])
