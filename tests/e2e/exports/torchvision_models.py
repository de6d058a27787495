"""Exports of torchvision, which record nothing about the picture."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.e2e.exports.calibration import calibrate
from tests.e2e.exports.case import Answer, Answerer, Case, Maker
from tests.e2e.exports.classifiers import BOUND, TASK
from tests.e2e.exports.pictures import CALIBRATION


def torchvision_maker(
    architecture: str,
    weights: str,
    head: str,
    *,
    batch: int = 1,
    dynamo: bool = False,
    build: Callable[[], Any] | None = None,
) -> Maker:
    """Returns a maker of a bare file NAME.onnx. `build`: another model than the architecture's."""

    def make(folder: Path) -> Answerer:
        import torch
        from torchvision.models import get_model, get_model_weights

        torch.manual_seed(0)
        entry = get_model_weights(architecture)[weights]  # its transforms; nothing is downloaded
        model, transform = build() if build else get_model(architecture), entry.transforms()
        photos = torch.stack([transform(_open(file)) for file in CALIBRATION])
        calibrate(model, lambda: model(photos), {head: (0.0, 2.0)})
        file = folder.with_name(f"{folder.name}.onnx")
        torch.onnx.export(model, (photos[:batch],), str(file), dynamo=dynamo, verbose=False)
        shutil.rmtree(folder)
        return lambda picture: _answer(model, transform(_open(picture)))

    return make


def _open(file: Path) -> Any:
    """Over white: nothing tells that torchvision trained the model, which would drop alpha."""
    from PIL import Image, ImageOps

    picture = ImageOps.exif_transpose(Image.open(file)).convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", picture.size, "white"), picture).convert("RGB")


def _answer(model: Any, tensor: Any) -> Answer:
    import torch

    with torch.no_grad():
        scores = model(tensor[None]).softmax(-1)[0]
    return {"scores": scores.numpy()}


def _case(name: str, make: Maker, toml: tuple[str, ...] = ()) -> Case:
    return Case(name, "torchvision", TASK, make, BOUND, toml)


_EDGE_232 = ("[preprocess]", "shortest_edge = 232")

CASES = (
    _case("tv-resnet50-v2", torchvision_maker("resnet50", "IMAGENET1K_V2", "^fc$", dynamo=True), _EDGE_232),
    _case(
        "tv-mobilenet-v3-v2", torchvision_maker("mobilenet_v3_large", "IMAGENET1K_V2", r"^classifier\.3$"), _EDGE_232
    ),
    _case("tv-resnet18-batch-4", torchvision_maker("resnet18", "IMAGENET1K_V1", "^fc$", batch=4)),
)
