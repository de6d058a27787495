"""Writes `golden/*.npz`: tensors that transformers and timm make of the photos, for comparison in `test_golden.py`.

Needs a separate environment with requirements/golden.txt:

    python tests/loaders/repository/specs/make_golden.py
"""

import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))

from golden_cases import CASES, PHOTOS, Case, stride_of  # type: ignore[import-not-found]  # not in the locks  # noqa: E402

GOLDEN = HERE / "golden"
PHOTO_FOLDER = HERE.parents[2] / "data" / "photos"

# A torchvision built for CUDA beside a torch for the CPU does not find its C++ operators; the transforms need none.
_OPERATORS = (
    "nms", "qnms", "roi_align", "_roi_align_backward", "ps_roi_align", "_ps_roi_align_backward", "roi_pool",
    "_roi_pool_backward", "ps_roi_pool", "_ps_roi_pool_backward", "qroi_align", "deform_conv2d",
    "_deform_conv2d_backward",
)  # fmt: skip

# transformers' modules by the class; the rest of a class's name in snake case is its module's.
_MODULES = {
    "ConvNext": "convnext", "DeiT": "deit", "EfficientNet": "efficientnet", "MobileNetV1": "mobilenet_v1",
    "MobileNetV2": "mobilenet_v2", "ConditionalDetr": "conditional_detr", "RTDetr": "rt_detr", "MobileViT": "mobilevit",
}  # fmt: skip

Transform = Callable[[Image.Image], np.ndarray[Any, Any]]


def main() -> None:
    _stub_torchvision()
    GOLDEN.mkdir(exist_ok=True)
    for case in CASES:
        transform = _timm(case) if case.is_timm else _hugging_face(case)
        tensors = {photo: transform(Image.open(PHOTO_FOLDER / photo).convert("RGB")) for photo in PHOTOS}
        kept: dict[str, Any] = {}
        for photo, tensor in tensors.items():
            stride = stride_of(*tensor.shape[1:])
            kept[photo] = tensor[:, ::stride, ::stride].astype(np.float16)
            kept[f"{photo}:shape"] = np.array(tensor.shape)
        np.savez_compressed(GOLDEN / f"{case.name}.npz", **kept)
        print(case.name, *(tensor.shape for tensor in tensors.values()))  # noqa: T201 - a command


def _stub_torchvision() -> None:
    import torch  # type: ignore[import-not-found]  # not in the locks

    try:
        import torchvision  # type: ignore[import-not-found]  # not in the locks  # noqa: F401
    except (RuntimeError, ImportError):
        library = torch.library.Library("torchvision", "DEF")
        _KEPT.append(library)
        for name in _OPERATORS:
            library.define(f"{name}(Tensor a) -> Tensor")


_KEPT: list[object] = []  # a torch Library that is collected takes its operators with it


def _hugging_face(case: Case) -> Transform:
    """Returns the Pillow version of the class: that of torchvision resizes tensors, not pictures."""
    name = case.config.get("image_processor_type") or case.config["feature_extractor_type"]
    family = name.removesuffix("Fast").removesuffix("ImageProcessor").removesuffix("FeatureExtractor")
    module = _MODULES.get(family, family.lower())
    loaded = import_module(f"transformers.models.{module}.image_processing_pil_{module}")
    processor = getattr(loaded, f"{family}ImageProcessorPil").from_dict(dict(case.config))
    return lambda picture: np.asarray(processor(picture, return_tensors="np")["pixel_values"][0])


def _timm(case: Case) -> Transform:
    from timm.data import create_transform, resolve_data_config  # type: ignore[import-not-found]  # not in the locks

    transform = create_transform(**resolve_data_config({}, pretrained_cfg=case.config["pretrained_cfg"]))
    return lambda picture: np.asarray(transform(picture))


if __name__ == "__main__":
    main()
