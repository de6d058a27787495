"""The shipped models: the files that models/README.md lists, and their tasks."""

import hashlib
import re

import pytest

from engine.models.load import resolve_files
from loaders.repository.model_repository import ModelRepository
from loaders.repository.specs.model_spec import TaskName
from tests.paths import ROOT

MODELS = ROOT / "models"
README_ROW = re.compile(r"^\| `(?P<file>[^`]+)` \| (?P<size>\d+) \| `(?P<sha256>[0-9a-f]{64})` \|$", re.MULTILINE)
TASKS = {
    "picodet-s-416": TaskName.OBJECT_DETECTION,
    "u2netp": TaskName.IMAGE_SEGMENTATION,
    "efficientnet-lite0-embed": TaskName.IMAGE_FEATURE_EXTRACTION,
}


@pytest.mark.parametrize("file", [*(f"{name}/1/model.onnx" for name in TASKS), "picodet-s-416/labels.txt"])
def test_the_readme_states_size_and_sha256(file: str) -> None:
    stated = {row["file"]: row for row in README_ROW.finditer((MODELS / "README.md").read_text(encoding="utf-8"))}
    data = (MODELS / file).read_bytes()
    assert int(stated[file]["size"]) == len(data)
    assert stated[file]["sha256"] == hashlib.sha256(data).hexdigest()


@pytest.mark.parametrize(("name", "task"), TASKS.items())
def test_each_model_has_its_task(name: str, task: TaskName) -> None:
    assert resolve_files(ModelRepository(MODELS).find(name).files).spec.task is task


def test_picodet_has_the_80_labels_of_coco() -> None:
    labels = (MODELS / "picodet-s-416" / "labels.txt").read_text(encoding="utf-8").splitlines()
    assert len(set(labels)) == 80
    assert {0: "person", 2: "car", 5: "bus", 15: "cat", 79: "toothbrush"}.items() <= dict(enumerate(labels)).items()
