from pathlib import Path

import numpy as np
import pytest

from tests.api.conftest import checks_in_this_process
from tests.command_line import CommandLine
from tests.engine.tasks.graphs import Outputs, Thing, constant_graph, yolo_masks, yolov8
from tests.pictures import encode, scene
from tests.tiny_models import SPEC, add_model, colour_graph

__all__ = ["checks_in_this_process"]

# In the input's pixels, which are 64 x 64: in a picture of 128 x 96, twice as far right and 1.5 times as far down.
THINGS = (Thing((8, 16, 40, 48), 0, 0.9), Thing((30, 2, 60, 30), 2, 0.6))
LABELS = ("cat", "dog", "red, or green")
WIDTH, HEIGHT = 128, 96

_POSE = np.zeros((1, 11, 20), np.float32)
_POSE[0, :, 0] = [32, 32, 16, 16, 0.9, 30, 30, 0.8, 34, 34, 0.7]
_OBB = np.zeros((1, 6, 20), np.float32)
_OBB[0, :, 0] = [32, 32, 16, 8, 0.9, 0.5]
_MASK = np.full((1, 16, 16), -9, np.float32)
_MASK[0, 5:11, 3:9] = 9
_SEGMENTS = yolo_masks(THINGS[:1], np.ones((1, 1), np.float32), _MASK)

MODELS: dict[str, tuple[Outputs, str]] = {
    "boxes": (yolov8(THINGS), 'task = "object-detection"\nhead = "yolov8"'),
    "pose": (
        {"output0": _POSE},
        'task = "keypoint-detection"\nkeypoint_shape = [2, 3]\nkeypoint_names = ["head", "tail"]\nskeleton = [[0, 1]]',
    ),
    "obb": ({"output0": _OBB}, 'task = "object-detection"\nhead = "yolo-obb"'),
    "masks": (_SEGMENTS, 'task = "image-segmentation"\nhead = "yolo-masks"'),
    "depth": ({"depth": np.arange(64, dtype=np.float32).reshape(1, 8, 8)}, 'task = "depth-estimation"'),
    "text": ({"softmax": np.array([[[0, 0.9], [0.8, 0]]], np.float32)}, 'task = "image-to-text"\nlabels = ["", "a"]'),
}  # fmt: skip


@pytest.fixture(scope="session")
def task_models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A models folder with a model of each task; `colour` is the default."""
    folder = tmp_path_factory.mktemp("task_models")
    add_model(folder, "colour", colour_graph())
    vector = SPEC.replace("image-classification", "image-feature-extraction")
    add_model(folder, "vector", colour_graph(), spec=vector, labels=None)
    for name, (outputs, spec) in MODELS.items():
        labels = None if "labels" in spec else ("thing",) if name in ("pose", "obb") else LABELS
        lines = f'{spec}\n[preprocess]\nresize = "stretch"\nmean = [0.0]\n'
        add_model(folder, name, constant_graph(outputs), spec=lines, labels=labels)
    return folder


@pytest.fixture
def command(task_models: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> CommandLine:
    environment = {"API_MODELS_DIR": str(task_models), "API_DEFAULT_MODEL": "colour"}
    return CommandLine(environment, monkeypatch, capsys)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """A folder with a.jpg, b.png and sub/c.webp."""
    folder = tmp_path / "photos"
    (folder / "sub").mkdir(parents=True)
    pixels = scene(WIDTH, HEIGHT)
    for name, image_format in (("a.jpg", "JPEG"), ("b.png", "PNG"), ("sub/c.webp", "WebP")):
        (folder / name).write_bytes(encode(pixels, image_format))
    return folder
