"""`python -m tools.find_recipe` on tiny models; tests/e2e/test_find_recipe.py has real ones."""

import json
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper
from PIL import Image

from tests.paths import ROOT
from tests.tiny_models import COLOURS, colour_graph
from tools.find_recipe import main
from tools.inspect import main as inspect

SHADES = 4


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """A folder of pictures for each colour, which is weak: the right values make it stand out."""
    folder = tmp_path / "labelled"
    noise = np.random.default_rng(0)
    for channel, colour in enumerate(COLOURS):
        (folder / colour).mkdir(parents=True)
        for shade in range(SHADES):
            pixels = noise.integers(60, 200, (32, 48, 3))
            pixels[..., channel] += 30 + 5 * shade
            Image.fromarray(pixels.astype(np.uint8)).save(folder / colour / f"{shade}.png")
    return folder


def bare(folder: Path, graph: onnx.ModelProto) -> Path:
    """A classifier without a recipe, with labels."""
    folder.mkdir()
    (folder / "model.onnx").write_bytes(graph.SerializeToString())
    (folder / "labels.txt").write_text("\n".join(COLOURS) + "\n")
    return folder


def reversed_channels() -> onnx.ModelProto:
    """As `colour_graph` for pictures in the order BGR."""
    graph = colour_graph(gain=30)
    graph.graph.initializer.append(numpy_helper.from_array(np.array([2, 1, 0]), "order"))
    graph.graph.node.insert(0, helper.make_node("Gather", ["image", "order"], ["upright"], axis=1))
    graph.graph.node[1].input[0] = "upright"
    return graph


def preprocess(file: Path) -> dict[str, Any]:
    found: dict[str, Any] = tomllib.loads(file.read_text())["preprocess"]
    return found


@pytest.mark.slow
def test_it_runs_as_a_file() -> None:
    subprocess.run([sys.executable, "tools/find_recipe.py", "--help"], cwd=ROOT, capture_output=True, check=True)


@pytest.mark.slow
def test_a_recipe_is_written_that_the_service_reads(
    tmp_path: Path, photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = bare(tmp_path / "m", reversed_channels())
    call = [sys.executable, "-m", "tools.find_recipe", str(model), "--photos", str(photos)]
    done = subprocess.run(call, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert preprocess(model / "model.toml")["color"] == "BGR"
    assert "do not separate" in done.stdout, "a tiny square input has no best interpolation"
    assert "12 labelled pictures" in (model / "model.toml").read_text()
    assert inspect([str(model)]) == 0
    assert "BGR" in capsys.readouterr().out


def test_colour_and_layout_are_found(tmp_path: Path, photos: Path) -> None:
    model = bare(tmp_path / "m", colour_graph(gain=30, layout="NHWC"))
    assert main([str(model), "--photos", str(photos)]) == 0
    assert preprocess(model / "model.toml")["color"] == "RGB"


def test_a_graph_of_open_size_gets_a_size(tmp_path: Path, photos: Path) -> None:
    model = bare(tmp_path / "m", colour_graph(gain=30, side="side"))
    assert main([str(model), "--photos", str(photos)]) == 0
    assert preprocess(model / "model.toml")["size"] == [224, 224]
    assert preprocess(model / "model.toml")["layout"] == "NCHW"


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("manifest.json", json.dumps([{"file": f"{c}/0.png", "label": c} for c in COLOURS])),
        ("manifest.json", json.dumps([{"file": f"{c}/0.png", "class_id": i} for i, c in enumerate(COLOURS)])),
        ("manifest.json", json.dumps([{"file": f"{c}/0.png", "accept": [i]} for i, c in enumerate(COLOURS)])),
        ("manifest.csv", "file,label\n" + "".join(f"{c}/0.png,{c}\n" for c in COLOURS)),
        ("manifest.csv", "file,class_id\n" + "".join(f"{c}/0.png,{i}\n" for i, c in enumerate(COLOURS))),
    ],
    ids=["labels", "ids", "accepted ids", "csv labels", "csv ids"],
)
def test_a_manifest_names_the_classes(tmp_path: Path, photos: Path, name: str, text: str) -> None:
    (photos / name).write_text(text)
    model = bare(tmp_path / "m", reversed_channels())
    out = tmp_path / "found.toml"
    assert main([str(model), "--photos", str(photos), "--out", str(out)]) == 0
    assert "with 3 labelled pictures" in out.read_text()
    assert not (model / "model.toml").exists()


@pytest.mark.parametrize(
    ("manifest", "reason"),
    [
        ([], "has no labelled pictures"),
        ({"a": 1}, "must be a list of pictures"),
        ([{"file": "red/0.png", "label": "violet"}], "'violet' is not a class of the model"),
        ([{"file": "red/0.png", "class_id": 3}], "3 is not a class of the model"),
        ([{"file": "red/9.png", "class_id": 0}], "9.png"),
        ([{"file": "manifest.json", "class_id": 0}], "manifest.json"),
    ],
    ids=["empty", "no list", "unknown label", "unknown id", "missing picture", "no picture"],
)
def test_unusable_pictures_are_a_reason(
    tmp_path: Path, photos: Path, manifest: object, reason: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (photos / "manifest.json").write_text(json.dumps(manifest))
    assert main([str(bare(tmp_path / "m", colour_graph())), "--photos", str(photos)]) == 1
    assert reason in capsys.readouterr().err


def test_an_existing_file_is_kept(tmp_path: Path, photos: Path) -> None:
    model = bare(tmp_path / "m", colour_graph(gain=30))
    (model / "model.toml").write_text('task = "image-classification"\n')
    with pytest.raises(SystemExit, match="2"):
        main([str(model), "--photos", str(photos)])
    assert main([str(model), "--photos", str(photos), "--force"]) == 0
    assert preprocess(model / "model.toml")


def test_a_model_of_another_task_is_a_reason(tmp_path: Path, photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = bare(tmp_path / "m", colour_graph())
    (model / "model.toml").write_text('task = "tensor"\n')
    assert main([str(model), "--photos", str(photos), "--force"]) == 1
    assert "its task is tensor" in capsys.readouterr().err


def test_the_recipe_of_a_bare_file_is_written_beside_it(tmp_path: Path, photos: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / f"{name}.onnx").write_bytes(colour_graph(gain=30).SerializeToString())
    (photos / "manifest.csv").write_text("file,class_id\n" + "".join(f"{c}/0.png,{i}\n" for i, c in enumerate(COLOURS)))
    assert main([str(tmp_path / "one.onnx"), "--photos", str(photos)]) == 0
    assert preprocess(tmp_path / "one.toml")
