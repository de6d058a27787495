"""The recipes of six models are found from 21 labelled photos, or named among those that the photos do not tell apart.

The models are the default one behind nodes that undo another recipe (tests/recipe_models.py).
"""

import json
import tomllib
from pathlib import Path

import numpy as np
import pytest

from tests.paths import ROOT
from tests.recipe_models import TRUTHS, Truth, write
from tools.find_recipe import main

PHOTOS = ROOT / "tests" / "data" / "photos"
# As the tool names values that cannot be told from others.
NAMES = {
    "efficientnet-lite": "(x - 127) / 128, RGB",
    "299 -1..1": "-1..1, RGB",
    "imagenet": "ImageNet mean and std, RGB",
}


def is_right(preprocess: dict[str, object], truth: Truth) -> bool:
    """Whether the values of black and white pixels are those of the truth, in its order of channels."""
    scale = float(str(preprocess["rescale_factor"]))
    mean, std = (np.resize(np.asarray(preprocess[name], np.float64), 3) for name in ("mean", "std"))
    found = [(value * scale - mean) / std for value in (0, 255)]
    right = [(value - np.resize(truth.mean, 3)) / np.resize(truth.std, 3) for value in (0, 255)]
    return preprocess["color"] == truth.color and np.allclose(found, right, atol=1e-3)


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Every second photo of the tests."""
    folder = tmp_path_factory.mktemp("photos")
    entries = json.loads((PHOTOS / "manifest.json").read_text(encoding="utf-8"))[::2]
    for entry in entries:
        (folder / entry["file"]).symlink_to(PHOTOS / entry["file"])
    (folder / "manifest.json").write_text(json.dumps(entries), encoding="utf-8")
    return folder


@pytest.mark.parametrize("name", TRUTHS)
def test_the_recipe_is_found_or_named(
    tmp_path: Path, photos: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    model = write(TRUTHS[name], tmp_path / "model.onnx")
    assert main([str(model), "--photos", str(photos)]) == 0
    written = (tmp_path / "model.toml").read_text()
    preprocess = tomllib.loads(written)["preprocess"]
    named = f"# values and colours: not separated from {NAMES.get(name)}\n" in written
    assert is_right(preprocess, TRUTHS[name]) or named, capsys.readouterr().out
    kept = preprocess["resize"] == "shortest-edge" and preprocess["shortest_edge"] == round(TRUTHS[name].side / 0.875)
    assert kept or "# geometry: not separated from shortest edge, crop 0.875\n" in written
