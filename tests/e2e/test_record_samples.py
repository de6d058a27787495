"""`tools/record_samples.py` with timm, transformers and Ultralytics themselves, in the environment of `make exports`.

Each model has random weights and is exported by its own framework; the service agrees with what was recorded.
"""

import subprocess
from pathlib import Path

import pytest

from engine.models.load import load_model
from engine.models.samples import check_samples
from loaders.image_loader import create_image_loader
from loaders.model_loader import create_model_loader
from loaders.repository.model_repository import ModelRepository
from loaders.runtimes.base import SessionOptions
from tests.paths import ROOT

PYTHON = ROOT / ".venv-exports" / "bin" / "python"
PICTURES = [ROOT / "tests" / "data" / "cat.jpg", ROOT / "tests" / "data" / "photos" / "gcompris_things_bucket.webp"]
TIMM = """
import json, timm, torch
torch.manual_seed(0)
model = timm.create_model("resnet18", pretrained=False).eval()
with torch.no_grad():
    model.fc.weight.mul_(60)
torch.save(model.state_dict(), "weights.pth")
torch.onnx.export(model, torch.zeros(1, 3, 224, 224), "models/m/model.onnx", dynamo=False)
kinds = (int, float, str, list, tuple)
recorded = {key: value for key, value in model.pretrained_cfg.items() if isinstance(value, kinds)}
config = {"architecture": "resnet18", "num_classes": 1000, "pretrained_cfg": recorded}
open("models/m/config.json", "w").write(json.dumps(config))
"""
TRANSFORMERS = """
import torch
from transformers import ViTConfig, ViTForImageClassification, ViTImageProcessor
torch.manual_seed(0)
names = {i: f"thing {i}" for i in range(10)}
config = ViTConfig(hidden_size=96, num_hidden_layers=3, num_attention_heads=3, intermediate_size=192, id2label=names,
                   label2id={name: i for i, name in names.items()})
model = ViTForImageClassification(config).eval()
with torch.no_grad():
    model.classifier.weight.mul_(60)
for folder in ("own", "models/m"):
    model.config.save_pretrained(folder)
    ViTImageProcessor().save_pretrained(folder)
model.save_pretrained("own")

class Logits(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.model = model

    def forward(self, pixel_values):
        return self.model(pixel_values=pixel_values).logits

torch.onnx.export(Logits(), torch.zeros(1, 3, 224, 224), "models/m/model.onnx", dynamo=False,
                  input_names=["pixel_values"], output_names=["logits"])
"""
ULTRALYTICS = """
import shutil
from ultralytics import YOLO
YOLO("yolo11n-cls.yaml").save("own.pt")
shutil.move(YOLO("own.pt").export(format="onnx", imgsz=224, simplify=False), "models/m/model.onnx")
"""

pytestmark = pytest.mark.skipif(not PYTHON.is_file(), reason="needs .venv-exports, which `make exports` installs")


@pytest.mark.parametrize(
    ("script", "source"),
    [
        (TIMM, ("--timm", "resnet18", "--checkpoint", "weights.pth")),
        (TRANSFORMERS, ("--transformers", "own", "--task", "image-classification")),
        (ULTRALYTICS, ("--ultralytics", "own.pt")),
    ],
    ids=["timm", "transformers", "ultralytics"],
)
def test_the_service_agrees_with_what_the_framework_answers(
    tmp_path: Path, script: str, source: tuple[str, ...]
) -> None:
    (tmp_path / "models" / "m").mkdir(parents=True)
    record = [str(ROOT / "tools" / "record_samples.py"), "models/m", *map(str, PICTURES), *source]
    for arguments in (["-c", script], record):
        done = subprocess.run([PYTHON, *arguments], cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
    version = ModelRepository(tmp_path / "models").find("m")
    model = load_model(version, create_model_loader("onnxruntime"), SessionOptions())
    report = check_samples(model, version, create_image_loader("opencv"))
    assert report
    assert report.count == report.agreeing == len(PICTURES)
