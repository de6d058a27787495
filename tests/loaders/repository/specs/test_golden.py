"""Tensors made from an export's files equal those of the tool that wrote them. See `make_golden.py`."""

import json
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from _pytest.mark import ParameterSet
from numpy.typing import NDArray

from engine.preprocessing.preprocessor import Preprocessor
from loaders.image_loader import create_image_loader
from loaders.images.base import ImageInfo, Picture, Size
from loaders.onnx.onnx_file import OnnxGraph
from loaders.repository.specs import ModelFiles, resolve
from loaders.repository.specs.model_spec import Interpolation, PreprocessSpec
from tests.loaders.repository.specs.golden_cases import CASES, PICTURES, Case, stride_of
from tests.loaders.repository.specs.graphs import OPEN_PICTURE, classifier, export
from tests.paths import ROOT

GOLDEN = Path(__file__).with_name("golden")
PHOTO_FOLDER = ROOT / "tests" / "data" / "photos"
FILES = {"transformers": "preprocessor_config.json", "timm": "config.json"}

# In levels of 0 to 255: most, mean. Tools resize with Pillow; ours always goes across first, Pillow 13 sometimes down
# first. torch's resizes round otherwise, or not at all; OpenCV's is the same.
SAME_ORDER = (1.05, 0.02)
OTHER_ORDER = (2.05, 0.35)
OTHER_ORDER_LANCZOS = (3.05, 0.35)
OPENCV = (0.0, 0.0)
TORCH = (2.05, 0.6)
FLOAT16 = 2**-11  # relative; the golden tensors are stored so

# Classes that exist for torch only, or that resize before they round to levels.
BY_TORCH = {
    "default-DINOv3ViT", "default-DepthPro", "default-PPDocLayoutV2", "default-PPDocLayoutV3", "default-PPDocLayoutV4",
    "default-PPLCNet", "default-PI0", "default-RfDetr", "default-Sam2", "default-Sam3", "default-Sapiens2",
    "default-Tipsv2", "default-Tipsv2Dpt",
}  # fmt: skip


def cases() -> list[ParameterSet]:
    return [pytest.param(case, id=case.name) for case in CASES]


def bounds(case: Case, spec: PreprocessSpec, picture: Size, resized: Size) -> tuple[float, float]:
    """Pillow 13 resizes tall pictures down first, and those whose height loses more than twice as many pixels."""
    if case.name in BY_TORCH:
        return TORCH
    if spec.interpolation is Interpolation.OPENCV_LINEAR:
        return OPENCV
    across, down = picture.width - resized.width, picture.height - resized.height
    if picture.width > picture.height and down <= 2 * across:
        return SAME_ORDER
    return OTHER_ORDER_LANCZOS if spec.interpolation is Interpolation.LANCZOS else OTHER_ORDER


def resolved(folder: Path, case: Case) -> PreprocessSpec:
    path = folder / "model.onnx"
    graph = _graph(path, case)
    if case.tool in FILES:
        (folder / FILES[case.tool]).write_text(json.dumps(case.config))
    return resolve(ModelFiles.of_folder(path, folder), graph).spec.preprocess


def _graph(path: Path, case: Case) -> OnnxGraph:
    picture = (1, 3, case.side, case.side) if case.side else OPEN_PICTURE
    if case.tool != "ultralytics":
        return export(path, {"x": picture}, {"y": (1, 10)}) if case.side else classifier(path)
    output = (1, 10) if case.config["task"] == "classify" else (1, 5, 8400)
    return export(path, {"images": picture}, {"output0": output}, metadata=case.config)


@cache
def picture_of(name: str) -> Picture:
    file, part = PICTURES[name]
    whole = create_image_loader("pillow").load((PHOTO_FOLDER / file).read_bytes())
    if part is None:
        return whole
    left, top, right, bottom = part
    pixels = np.ascontiguousarray(whole.pixels[top:bottom, left:right])
    return Picture(pixels, ImageInfo("PNG", right - left, bottom - top))


def distances(tensor: NDArray[np.floating], expected: NDArray[np.float64], spec: PreprocessSpec) -> NDArray[np.float64]:
    """In levels of 0 to 255, without the rounding of the stored tensor."""
    level = spec.rescale_factor / np.array(np.resize(spec.std, 3))[:, None, None]
    return np.maximum(np.abs(tensor - expected) - np.abs(expected) * FLOAT16, 0) / level


@pytest.mark.parametrize("case", cases())
def test_tensors_equal_those_of_the_exporter(tmp_path: Path, case: Case) -> None:
    spec = resolved(tmp_path, case)
    preprocessor = Preprocessor(spec, exact_decode=True)
    with np.load(GOLDEN / f"{case.name}.npz") as golden:
        names = [name for name in PICTURES if name in golden]
        assert {"chelsea", "bucket", "portrait"} <= set(names)
        for name in names:
            picture, shape = picture_of(name), tuple(golden[f"{name}:shape"])
            tensor = preprocessor(picture)[0]
            assert tensor.shape == shape, name
            stride = stride_of(name, *shape[1:])
            apart = distances(tensor[:, ::stride, ::stride], golden[name].astype(np.float64), spec)
            resized = preprocessor.frame(picture.info.size).placement.resized
            most, mean = bounds(case, spec, picture.info.size, resized)
            assert apart.max() <= most, name
            assert apart.mean() <= mean, name
