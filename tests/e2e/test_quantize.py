"""The default model in 8 bits, calibrated with the tests' photos: it classifies them nearly as well, and serves."""

import json
import shutil
from pathlib import Path

import pytest

from engine.models.load import load_model
from engine.tasks.predictions import Classification
from engine.tasks.task import PredictOptions
from loaders.image_loader import create_image_loader
from loaders.model_loader import create_model_loader
from loaders.repository.model_repository import ModelRepository
from loaders.runtimes.base import SessionOptions
from tests import plain_http
from tests.paths import ROOT
from tests.process import running_service
from tools.quantization.new_version import add_version, quantize_into
from tools.quantization.report import Report

PHOTOS = ROOT / "tests" / "data" / "photos"
NAME = "efficientnet-lite0"


@pytest.fixture(scope="module")
def photos() -> list[Path]:
    return sorted(path for path in PHOTOS.iterdir() if path.suffix != ".json")


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    for name in (NAME, "picodet-s-416", "u2netp"):
        shutil.copytree(ROOT / "models" / name, folder / name)
    return folder


@pytest.fixture(scope="module")
def made(models: Path, photos: list[Path]) -> tuple[int, Report]:
    return add_version(models, ModelRepository(models).scan().catalog, NAME, photos)


def test_the_8_bit_model_answers_alike_at_half_the_size(made: tuple[int, Report]) -> None:
    number, report = made
    assert number == 2
    assert report.pictures == 41
    assert report.agreement["same_top1"] >= 38 / 41
    assert report.agreement["largest_score_change"] < 0.3
    assert report.bytes_after < 0.6 * report.bytes_before


def test_the_8_bit_model_classifies_the_photos(made: tuple[int, Report], models: Path, photos: list[Path]) -> None:
    """The float model gets all of them right."""
    version = ModelRepository(models).find(NAME, made[0])
    model = load_model(version, create_model_loader("onnxruntime"), SessionOptions())
    loader = create_image_loader("opencv")
    truth = _truth()
    known = 0
    for photo in photos:
        picture = loader.load(photo.read_bytes())
        frame = model.preprocessor.frame(picture.info.size)
        outputs = model.infer(model.preprocessor(picture), frame)
        [best] = model.task.postprocess(outputs, frame, PredictOptions(top_k=1))
        assert isinstance(best, Classification)
        known += best.class_id in truth[photo.name]
    assert known >= 38


def test_the_old_version_keeps_serving(made: tuple[int, Report], models: Path) -> None:
    with running_service(API_MODELS_DIR=str(models)) as service:
        picture = (ROOT / "tests" / "data" / "cat.jpg").read_bytes()
        for query, version in (("", 1), (f"?version={made[0]}", made[0])):
            answer = plain_http.post(f"{service.base_url}/infer{query}", content=picture, timeout=60).json()
            assert answer["model"]["version"] == version
            assert "cat" in answer["predictions"][0]["label"]


@pytest.mark.parametrize(("name", "least"), [("picodet-s-416", 0.9), ("u2netp", 0.9)])
def test_boxes_and_masks_survive_too(models: Path, photos: list[Path], tmp_path: Path, name: str, least: float) -> None:
    report = quantize_into(ModelRepository(models).find(name), photos[::5], tmp_path / name)
    assert report.main_agreement is not None
    assert report.main_agreement > least


def _truth() -> dict[str, set[int]]:
    """Returns the right classes of each file."""
    entries = json.loads((PHOTOS / "manifest.json").read_text())
    return {entry["file"]: set(entry["accept"]) for entry in entries}
