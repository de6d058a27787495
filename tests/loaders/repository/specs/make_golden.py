"""Writes `golden/*.npz`: tensors that each tool makes of the pictures, for comparison in `test_golden.py`.

Needs a separate environment with requirements/golden.txt and ultralytics:

    python tests/loaders/repository/specs/make_golden.py
"""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))

from golden_cases import (  # type: ignore[import-not-found]  # not in the locks  # noqa: E402
    CASES,
    PICTURES,
    Case,
    stride_of,
)

GOLDEN = HERE / "golden"
PHOTO_FOLDER = HERE.parents[2] / "data" / "photos"

_MAX_VALUES = 10_000_000  # a longer line of pixels is bounded by the service

Transform = Callable[[Image.Image], np.ndarray[Any, Any]]


def main() -> None:
    GOLDEN.mkdir(exist_ok=True)
    for case in CASES:
        transform = _TOOLS[case.tool](case)
        kept: dict[str, Any] = {}
        for name in PICTURES:
            try:
                tensor = transform(_picture(name))
            except (RuntimeError, ValueError) as error:  # no tensor of no pixels
                print(case.name, name, error)  # noqa: T201 - a command
                continue
            if tensor.size > _MAX_VALUES:
                continue
            stride = stride_of(name, *tensor.shape[1:])
            kept[name] = tensor[:, ::stride, ::stride].astype(np.float16)
            kept[f"{name}:shape"] = np.array(tensor.shape)
        np.savez_compressed(GOLDEN / f"{case.name}.npz", **kept)
    for file in set(GOLDEN.glob("*.npz")) - {GOLDEN / f"{case.name}.npz" for case in CASES}:
        file.unlink()


def _picture(name: str) -> Image.Image:
    file, part = PICTURES[name]
    picture = Image.open(PHOTO_FOLDER / file).convert("RGB")
    return picture.crop(part) if part else picture


def _transformers(case: Case) -> Transform:
    """Returns the Pillow version of the class if there is one: that of torchvision resizes tensors."""
    import transformers  # type: ignore[import-not-found]  # not in the locks

    name = case.config.get("image_processor_type") or case.config["feature_extractor_type"]
    family = name.removesuffix("Fast").removesuffix("ImageProcessor").removesuffix("FeatureExtractor")
    cls = getattr(transformers, f"{family}ImageProcessorPil", None) or getattr(transformers, f"{family}ImageProcessor")
    options = {"apply_ocr": False} if family.startswith("LayoutLM") else {}
    processor = cls.from_dict({**case.config, **options})
    return lambda picture: np.asarray(processor(picture, return_tensors="np")["pixel_values"][0])


def _ultralytics(case: Case) -> Transform:
    """Returns the steps of `BasePredictor.preprocess`, or of `ClassificationPredictor`."""
    from ultralytics.data.augment import (  # type: ignore[import-not-found]  # not in the locks
        LetterBox,
        classify_transforms,
    )

    size = json.loads(case.config["imgsz"])
    if case.config["task"] == "classify":
        transform = classify_transforms(size)
        return lambda picture: np.asarray(transform(picture))
    letterbox = LetterBox(size, auto=case.side is None, stride=int(case.config["stride"]))
    return lambda picture: letterbox(image=np.asarray(picture)).transpose(2, 0, 1) / 255


def _torchvision(case: Case) -> Transform:
    """Returns the evaluation recipe of torchvision's references and first weights."""
    from torchvision import transforms  # type: ignore[import-not-found]  # not in the locks

    steps = (
        transforms.Resize(256),
        transforms.CenterCrop(case.side),
        transforms.ToTensor(),
        transforms.Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]),
    )
    transform = transforms.Compose(steps)
    return lambda picture: np.asarray(transform(picture))


def _timm(case: Case) -> Transform:
    from timm.data import create_transform, resolve_data_config  # type: ignore[import-not-found]  # not in the locks

    transform = create_transform(**resolve_data_config({}, pretrained_cfg=case.config["pretrained_cfg"]))
    return lambda picture: np.asarray(transform(picture))


_TOOLS: dict[str, Callable[[Case], Transform]] = {
    "transformers": _transformers, "timm": _timm, "ultralytics": _ultralytics, "torchvision": _torchvision,
}  # fmt: skip


if __name__ == "__main__":
    main()
