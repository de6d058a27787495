"""The scripts of docs/from-pytorch.md make exports that are read as the page shows, and that answer.

`make exports` runs this. Weights are random: each script finds the files that it loads, as training would leave them.
"""

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.pages import Block, blocks
from tests.paths import CAT, ROOT

PYTHON = ROOT / ".venv-exports" / "bin" / "python"
PAGE = ROOT / "docs" / "from-pytorch.md"
SECONDS = 600

# What lies in the folder before the script of a section runs; by a word of the script.
TRAINED = {
    "pets-timm": """
import timm, torch
torch.save(timm.create_model("resnet18", num_classes=3).state_dict(), "pets.pth")
""",
    "vectors": """
import timm, torch
torch.save(timm.create_model("resnet18", num_classes=0).state_dict(), "backbone.pth")
""",
    "torchvision": """
import torch
from torchvision.models import resnet18
torch.save(resnet18(num_classes=3).state_dict(), "pets.pth")
""",
    "ultralytics": """
from ultralytics import YOLO
from ultralytics.nn.tasks import DetectionModel
yolo = YOLO("yolo11n.yaml")
yolo.model = DetectionModel("yolo11n.yaml", nc=3, verbose=False)
yolo.model.names = {0: "cat", 1: "dog", 2: "horse"}
yolo.save("best.pt")
""",
    "transformers": """
from transformers import ViTConfig, ViTForImageClassification, ViTImageProcessor
config = ViTConfig(num_hidden_layers=1, id2label={0: "cat", 1: "dog", 2: "horse"})
ViTForImageClassification(config).save_pretrained("my-vit")
ViTImageProcessor().save_pretrained("my-vit")
""",
    "keras": """
import os
os.environ["KERAS_BACKEND"] = "torch"
import keras
keras.applications.MobileNetV2(weights=None, classes=3, input_shape=(160, 160, 3)).save("pets.keras")
""",
}

pytestmark = pytest.mark.skipif(not PYTHON.exists(), reason="make exports installs the exporters")


class Guide(NamedTuple):
    """A section's script, its command with the lines that the page shows of the output, and its model.toml."""

    script: str
    model: str
    shown: list[str]
    toml: str


def _guides() -> list[Guide]:
    """A script is followed by a console block, and perhaps by a model.toml before the next script."""
    found: list[Guide] = []
    script = ""
    for block in blocks(PAGE):
        if block.language == "python":
            script = block.text
        elif block.language == "console":
            found.append(_guide(script, block))
        elif block.language == "toml":
            found[-1] = found[-1]._replace(toml=block.text)
    return found


def _guide(script: str, console: Block) -> Guide:
    command, *shown = console.text.splitlines()
    return Guide(script, command.split()[-1], shown, "")


GUIDES = _guides()


@pytest.mark.parametrize("guide", GUIDES, ids=[guide.model for guide in GUIDES])
def test_script_exports_what_the_page_shows(guide: Guide, tmp_path: Path) -> None:
    (tmp_path / "models").mkdir()
    [trained] = [code for word, code in TRAINED.items() if word in guide.script]
    _run(tmp_path, str(PYTHON), "-c", trained)
    _run(tmp_path, str(PYTHON), "-c", guide.script)
    output = _inspect(tmp_path, guide)
    assert [line for line in guide.shown if _plain(line) not in output] == [], "\n".join(output)
    if guide.toml:
        model = tmp_path / guide.model
        (model / "model.toml").write_text(guide.toml)
        (model / "labels.txt").write_text("cat\ndog\nhorse\n")
        assert not [line for line in _inspect(tmp_path, guide) if line.startswith("warning")]
    name = Path(guide.model).stem
    _run(tmp_path, sys.executable, str(ROOT / "run_locally.py"), str(CAT), "--model", name, "--json")


def _inspect(folder: Path, guide: Guide) -> list[str]:
    return [_plain(line) for line in _run(folder, sys.executable, "-m", "tools.inspect", guide.model).splitlines()]


def _plain(line: str) -> str:
    """The line without the widths of columns."""
    return re.sub(r"\s+", " ", line).strip()


def _run(folder: Path, *command: str) -> str:
    environment = {
        **os.environ,
        "API_MODELS_DIR": str(folder / "models"),
        "COLUMNS": "160",
        "PYTHONIOENCODING": "utf-8",
        "PYTHONPATH": "" if command[0] == str(PYTHON) else str(ROOT),
        "YOLO_CONFIG_DIR": str(folder),
    }
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=SECONDS, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout
