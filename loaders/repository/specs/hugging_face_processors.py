"""Defaults of Hugging Face image processors, for keys that `preprocessor_config.json` leaves out.

From transformers 5.23. (EfficientNet resized with nearest in 4.x; exports have the key.)
"""

from collections.abc import Mapping
from dataclasses import dataclass
from re import sub

from loaders.repository.specs.constants import (
    CLIP_MEAN,
    CLIP_STD,
    IMAGENET_MEAN,
    IMAGENET_STD,
    STANDARD_MEAN,
    STANDARD_STD,
)  # fmt: skip
from loaders.repository.specs.model_spec import Interpolation

_BICUBIC, _BILINEAR = Interpolation.BICUBIC, Interpolation.BILINEAR


@dataclass(frozen=True, slots=True)
class Processor:
    """`square`: a bare number as `size` means both sides, and not the shortest edge.

    `sides_in_multiples`: YOLOS rounds the resized sides down to multiples of this.
    """

    size: Mapping[str, int]
    interpolation: Interpolation = _BILINEAR
    mean: tuple[float, ...] = STANDARD_MEAN
    std: tuple[float, ...] = STANDARD_STD
    square: bool = True
    crops: bool = False
    crop: int | None = None
    never_crops: bool = False
    normalizes: bool = True
    flips_channels: bool = False
    crop_by_pct: bool = False
    normalizes_twice: bool = False
    sides_in_multiples: int = 1


_SIZE_224 = {"height": 224, "width": 224}
_EDGE_224 = {"shortest_edge": 224}
_DETR_SIZE = {"shortest_edge": 800, "longest_edge": 1333}

_VIT = Processor(_SIZE_224)
_CLIP = Processor(_EDGE_224, _BICUBIC, CLIP_MEAN, CLIP_STD, square=False, crops=True, crop=224)
_MOBILENET = Processor({"shortest_edge": 256}, square=False, crops=True, crop=224)
_DETR = Processor(_DETR_SIZE, mean=IMAGENET_MEAN, std=IMAGENET_STD, square=False, never_crops=True)

PROCESSORS = {
    "ViT": _VIT,
    "Beit": Processor(_SIZE_224, _BICUBIC, crop=224),
    "Bit": _CLIP,
    "Blip": Processor({"height": 384, "width": 384}, _BICUBIC, CLIP_MEAN, CLIP_STD),
    "CLIP": _CLIP,
    "ChineseCLIP": _CLIP,
    "ConditionalDetr": _DETR,
    "ConvNext": Processor({"shortest_edge": 384}, _BICUBIC, square=False, crop_by_pct=True),
    "DINOv3ViT": Processor(_SIZE_224, mean=IMAGENET_MEAN, std=IMAGENET_STD),
    "DeformableDetr": _DETR,
    "DeiT": Processor({"height": 256, "width": 256}, _BICUBIC, crops=True, crop=224),
    "Detr": _DETR,
    "EfficientNet": Processor({"height": 346, "width": 346}, _BICUBIC, crop=289, normalizes_twice=True),
    "MobileNetV1": _MOBILENET,
    "MobileNetV2": _MOBILENET,
    "MobileViT": Processor(
        _EDGE_224, _BICUBIC, square=False, crops=True, crop=256, normalizes=False, flips_channels=True
    ),
    "RTDetr": Processor({"height": 640, "width": 640}, mean=IMAGENET_MEAN, std=IMAGENET_STD, normalizes=False),
    "Segformer": Processor({"height": 512, "width": 512}, mean=IMAGENET_MEAN, std=IMAGENET_STD, never_crops=True),
    "Siglip": Processor(_SIZE_224, _BICUBIC, square=False),
    "Yolos": Processor(
        _DETR_SIZE, mean=IMAGENET_MEAN, std=IMAGENET_STD, square=False, never_crops=True, sides_in_multiples=16
    ),
}
UNKNOWN = _VIT


def family(class_name: str) -> str:
    """Returns "ViT" for `ViTImageProcessorFast` and `ViTFeatureExtractor` (the old name)."""
    return sub(r"(ImageProcessor|FeatureExtractor)(Fast|Pil)?$", "", class_name)
