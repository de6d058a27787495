"""The shipped models: the slow cases of tests/engine/models/test_samples.py and of tests/engine/tasks."""

import shutil
from pathlib import Path

import pytest

from tests.engine.models.test_samples import check, problem
from tests.engine.tasks.real_models import PHOTOS
from tests.engine.tasks.test_u2netp_on_photos import assert_mask_equals_the_reference
from tests.paths import ROOT


def test_the_mask_of_a_photo_of_another_size_equals_the_reference() -> None:
    assert_mask_equals_the_reference(PHOTOS / "2011_000025.jpg")


def test_u2netp_agrees_with_its_framework() -> None:
    report = check(ROOT / "models", "u2netp")
    assert report
    assert report.agreeing == report.count


@pytest.mark.parametrize(
    ("name", "change", "found"),
    [
        ("efficientnet-lite0-embed", ("[127.0, 127.0, 127.0]", "[0.0]"), "part at preprocessing"),
        ("picodet-s-416", ('"stretch"', '"letterbox"'), "part at preprocessing"),
        ("picodet-s-416", ("iou_threshold = 0.6", "iou_threshold = 1.0"), "part at postprocessing"),
        ("u2netp", ("rescale_by_max = true", "rescale_factor = 1.0"), "part at preprocessing"),
    ],
)
def test_a_shipped_model_with_a_wrong_recipe_disagrees(
    tmp_path: Path, name: str, change: tuple[str, str], found: str
) -> None:
    shutil.copytree(ROOT / "models" / name, tmp_path / name)
    spec = tmp_path / name / "model.toml"
    assert change[0] in spec.read_text()
    spec.write_text(spec.read_text().replace(*change))
    assert found in problem(tmp_path, name)
