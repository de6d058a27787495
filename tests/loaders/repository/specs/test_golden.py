"""Tensors made from an export's JSON equal those of transformers and timm. See `make_golden.py`."""

import json
from pathlib import Path

import numpy as np
import pytest
from _pytest.mark import ParameterSet

from engine.preprocessing.geometry import place
from engine.preprocessing.preprocessor import Preprocessor
from loaders.image_loader import create_image_loader
from loaders.images.base import Size
from loaders.repository.specs import ModelFiles, resolve
from loaders.repository.specs.model_spec import Interpolation, PreprocessSpec, Resize
from tests.loaders.repository.specs.golden_cases import CASES, PHOTOS, Case, stride_of
from tests.loaders.repository.specs.graphs import classifier
from tests.paths import ROOT

GOLDEN = Path(__file__).with_name("golden")
PHOTO_FOLDER = ROOT / "tests" / "data" / "photos"

# In levels of 0 to 255. Both resize with Pillow; ours always goes across first, Pillow 13 sometimes down first.
SAME_ORDER = (1.05, 0.02)  # most, mean
OTHER_ORDER = (2.05, 0.15)
OTHER_ORDER_LANCZOS = (3.05, 0.15)
FLOAT16 = 2**-11  # relative; the golden tensors are stored so

# Stretched to more than the tensor, of which the centre is cut out.
WITH_A_CROP = {"default-DeiT", "deit-old", "timm-squash-crop"}


def cases() -> list[ParameterSet]:
    return [pytest.param(case, id=case.name) for case in CASES]


def bounds(spec: PreprocessSpec, picture: Size) -> tuple[float, float]:
    """Whether Pillow resizes the height first, as for tall pictures that are stretched."""
    if spec.resize is not Resize.STRETCH or picture.width > picture.height:
        return SAME_ORDER
    return OTHER_ORDER_LANCZOS if spec.interpolation is Interpolation.LANCZOS else OTHER_ORDER


def resolved(folder: Path, case: Case) -> PreprocessSpec:
    graph = classifier(folder / "model.onnx")
    file = "config.json" if case.is_timm else "preprocessor_config.json"
    (folder / file).write_text(json.dumps(case.config))
    return resolve(ModelFiles.of_folder(folder / "model.onnx", folder), graph).spec.preprocess


def with_size(spec: PreprocessSpec, picture: Size) -> PreprocessSpec:
    """With "bounded", the tensor has the size of the picture."""
    if spec.resize is not Resize.BOUNDED:
        return spec
    placed = place(picture, spec, Size(1, 1)).resized
    return spec.model_copy(
        update={"size": (placed.height, placed.width), "resize": Resize.STRETCH, "shortest_edge": None}
    )


@pytest.mark.parametrize("photo", PHOTOS)
@pytest.mark.parametrize("case", cases())
def test_tensors_equal_those_of_the_exporter(tmp_path: Path, case: Case, photo: str) -> None:
    picture = create_image_loader("pillow").load((PHOTO_FOLDER / photo).read_bytes())
    spec = with_size(resolved(tmp_path, case), picture.info.size)
    tensor = Preprocessor(spec, exact_decode=True)(picture)[0]
    with np.load(GOLDEN / f"{case.name}.npz") as golden:
        expected, shape = golden[photo].astype(np.float64), tuple(golden[f"{photo}:shape"])
    assert tensor.shape == shape
    stride = stride_of(*shape[1:])
    level = spec.rescale_factor / np.array(np.resize(spec.std, 3))[:, None, None]
    apart = np.abs(tensor[:, ::stride, ::stride] - expected) - np.abs(expected) * FLOAT16
    levels = np.maximum(apart, 0) / level
    most, mean = bounds(spec, picture.info.size)
    assert levels.max() <= most
    assert levels.mean() <= mean
