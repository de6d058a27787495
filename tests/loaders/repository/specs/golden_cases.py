"""Exports whose preprocessing is compared with the exporter's.

Read by `make_golden.py` in an environment with torch, and by `test_golden.py` in one without: nothing is imported here.
"""

from dataclasses import dataclass, field
from typing import Any

# By name: a file, and a part of it as (left, top, right, bottom); odd parts keep fewer pixels of a tensor.
PICTURES: dict[str, tuple[str, tuple[int, int, int, int] | None]] = {
    "chelsea": ("skimage_chelsea.png", None),  # 451 x 300
    "bucket": ("gcompris_things_bucket.webp", None),  # 800 x 520
    "portrait": ("skimage_chelsea.png", (120, 0, 257, 300)),
    "narrow": ("skimage_chelsea.png", (0, 150, 451, 158)),
    "pixel": ("skimage_chelsea.png", (200, 150, 201, 151)),
}
WHOLE_POINTS, PART_POINTS = 16, 8  # about the pixels that are kept of a tensor along its longer side

IMAGENET_MEAN, IMAGENET_STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
HALF = [0.5, 0.5, 0.5]


@dataclass(frozen=True)
class Case:
    """`config` is the content of the JSON file that the tool writes, or metadata of the graph (Ultralytics).

    `side`: of a graph that accepts one size only.
    """

    name: str
    config: dict[str, Any] = field(default_factory=dict)
    tool: str = "transformers"
    side: int | None = None


def stride_of(picture: str, height: int, width: int) -> int:
    """Of the pixels that are kept, in both directions."""
    points = WHOLE_POINTS if PICTURES[picture][1] is None else PART_POINTS
    return max(1, max(height, width) // points)


def _timm(name: str, **pretrained: object) -> Case:
    config = {"architecture": "resnet50", "num_classes": 10, "pretrained_cfg": pretrained}
    return Case(f"timm-{name}", config, "timm")


def _ultralytics(name: str, task: str, size: list[int], side: int | None) -> Case:
    metadata = {"stride": "32", "names": "{0: 'a'}", "task": task, "imgsz": str(size), "batch": "1"}
    return Case(f"ultralytics-{name}", metadata, "ultralytics", side)


# Image processors with known steps, by their names without "ImageProcessor".
DEFAULTS = (
    "Beit", "Bit", "Blip", "CLIP", "Chameleon", "ChineseCLIP", "ConditionalDetr", "ConvNext", "DINOv3ViT", "DPT",
    "DeformableDetr", "DeiT", "DepthPro", "Detr", "EfficientNet", "Eomt", "Flava", "GLPN", "Gemma3", "GotOcr2",
    "GroundingDino", "LayoutLMv3", "Levit", "Mask2Former", "MaskFormer", "MobileNetV1", "MobileNetV2",
    "MobileViT", "Ovis2", "OwlViT", "PI0", "PPChart2Table", "PPDocLayoutV2", "PPDocLayoutV3", "PPDocLayoutV4",
    "PPLCNet", "PoolFormer", "PromptDepthAnything", "Pvt", "RTDetr", "RfDetr", "Sam", "Sam2", "Sam3", "Sapiens2",
    "SegGpt", "Segformer", "Siglip", "SuperPoint", "TextNet", "Tipsv2", "Tipsv2Dpt", "ViT", "Vilt", "Yolos",
)  # fmt: skip

CASES = (
    # the defaults of each class
    *(Case(f"default-{name}", {"image_processor_type": f"{name}ImageProcessor"}) for name in DEFAULTS),
    # google/vit-base-patch16-224, with the crop_pct that the class ignores
    Case("vit-old", {
        "feature_extractor_type": "ViTFeatureExtractor", "do_normalize": True, "do_resize": True, "crop_pct": 0.9,
        "image_mean": HALF, "image_std": HALF, "resample": 2, "size": 224,
    }),
    # microsoft/swin-tiny-patch4-window7-224
    Case("swin", {
        "image_processor_type": "ViTImageProcessorFast", "do_resize": True, "do_rescale": True, "do_normalize": True,
        "rescale_factor": 0.00392156862745098, "resample": 3, "size": {"height": 224, "width": 224},
        "image_mean": IMAGENET_MEAN, "image_std": IMAGENET_STD,
    }),
    # microsoft/resnet-50
    Case("resnet-50", {
        "feature_extractor_type": "ConvNextFeatureExtractor", "crop_pct": 0.875, "do_normalize": True,
        "do_resize": True, "image_mean": IMAGENET_MEAN, "image_std": IMAGENET_STD, "resample": 3, "size": 224,
    }),
    Case("convnext-crop", {
        "image_processor_type": "ConvNextImageProcessor", "crop_pct": 0.95, "resample": 3,
        "size": {"shortest_edge": 288},
    }),
    # openai/clip-vit-base-patch32
    Case("clip-old", {
        "feature_extractor_type": "CLIPFeatureExtractor", "do_center_crop": True, "crop_size": 224,
        "do_normalize": True, "do_resize": True, "resample": 3, "size": 224,
        "image_mean": [0.48145466, 0.4578275, 0.40821073], "image_std": [0.26862954, 0.26130258, 0.27577711],
    }),
    Case("clip-oblong", {
        "image_processor_type": "CLIPImageProcessor", "size": {"shortest_edge": 250},
        "crop_size": {"height": 200, "width": 240},
    }),
    # google/bit-50
    Case("bit-448", {
        "image_processor_type": "BitImageProcessor", "crop_size": {"height": 448, "width": 448}, "resample": 2,
        "do_center_crop": True, "size": {"shortest_edge": 448}, "image_mean": HALF, "image_std": HALF,
    }),
    # google/efficientnet-b0
    Case("efficientnet-b0", {
        "image_processor_type": "EfficientNetImageProcessor", "crop_size": {"height": 289, "width": 289},
        "do_center_crop": False, "do_normalize": True, "do_rescale": True, "do_resize": True, "include_top": True,
        "image_mean": IMAGENET_MEAN, "image_std": [0.47853944, 0.4732864, 0.47434163], "resample": 0,
        "rescale_factor": 0.00392156862745098, "rescale_offset": False, "size": {"height": 224, "width": 224},
    }),
    Case("efficientnet-offset", {
        "image_processor_type": "EfficientNetImageProcessor", "rescale_factor": 1 / 127.5, "rescale_offset": True,
        "size": {"height": 240, "width": 240}, "include_top": False, "image_mean": HALF, "image_std": HALF,
    }),
    Case("efficientnet-top-only", {
        "image_processor_type": "EfficientNetImageProcessor", "do_normalize": False, "include_top": True,
        "size": {"height": 240, "width": 240}, "image_std": IMAGENET_STD,
    }),
    # facebook/deit-base-distilled-patch16-224
    Case("deit-old", {
        "feature_extractor_type": "DeiTFeatureExtractor", "do_center_crop": True, "crop_size": 224, "resample": 3,
        "do_normalize": True, "do_resize": True, "size": 256, "image_mean": IMAGENET_MEAN, "image_std": IMAGENET_STD,
    }),
    # google/mobilenet_v1_0.75_192
    Case("mobilenet-192", {
        "image_processor_type": "MobileNetV1ImageProcessor", "crop_size": {"height": 192, "width": 192},
        "do_center_crop": True, "size": {"shortest_edge": 219}, "resample": 2, "image_mean": HALF, "image_std": HALF,
    }),
    # nvidia/segformer-b0-finetuned-ade-512-512
    Case("segformer-old", {
        "feature_extractor_type": "SegformerFeatureExtractor", "do_normalize": True, "do_resize": True,
        "image_mean": IMAGENET_MEAN, "image_std": IMAGENET_STD, "reduce_labels": True, "resample": 2, "size": 512,
    }),
    # facebook/detr-resnet-50
    Case("detr-old", {
        "feature_extractor_type": "DetrFeatureExtractor", "do_normalize": True, "do_resize": True, "format":
        "coco_detection", "image_mean": IMAGENET_MEAN, "image_std": IMAGENET_STD, "max_size": 600, "size": 480,
    }),
    Case("vit-no-normalize", {
        "image_processor_type": "ViTImageProcessor", "do_normalize": False, "size": {"height": 100, "width": 150},
        "resample": 1,
    }),
    Case("vit-no-rescale", {
        "image_processor_type": "ViTImageProcessor", "do_rescale": False, "image_mean": [127.0] * 3,
        "image_std": [128.0] * 3,
    }),
    _timm("resnet50", input_size=[3, 224, 224], interpolation="bicubic", crop_pct=0.95, mean=IMAGENET_MEAN,
          std=IMAGENET_STD, test_input_size=[3, 288, 288], test_crop_pct=1.0, crop_mode="center"),
    _timm("defaults", input_size=[3, 224, 224]),
    _timm("bilinear", input_size=[3, 299, 299], interpolation="bilinear", crop_pct=0.875, mean=HALF, std=HALF),
    _timm("odd", input_size=[3, 225, 225], interpolation="bicubic", crop_pct=0.87, mean=HALF, std=HALF),
    _timm("squash", input_size=[3, 224, 224], interpolation="bicubic", crop_pct=1.0, crop_mode="squash"),
    _timm("squash-crop", input_size=[3, 224, 224], interpolation="bicubic", crop_pct=0.9, crop_mode="squash"),
    _timm("border", input_size=[3, 224, 224], interpolation="bicubic", crop_pct=1.0, crop_mode="border", mean=HALF,
          std=HALF),
    _timm("border-crop", input_size=[3, 224, 224], crop_pct=0.9, crop_mode="border", mean=IMAGENET_MEAN),
    _timm("border-oblong", input_size=[3, 160, 256], crop_pct=0.875, crop_mode="border", mean=IMAGENET_MEAN),
    _timm("oblong", input_size=[3, 160, 256], crop_pct=0.875, interpolation="bilinear"),
    _timm("oblong-portrait", input_size=[3, 320, 192], crop_pct=1.0),
    _timm("squash-oblong", input_size=[3, 160, 256], crop_pct=0.9, crop_mode="squash"),
    _ultralytics("detect", "detect", [640, 640], 640),
    _ultralytics("any-size", "detect", [640, 640], None),
    _ultralytics("oblong", "detect", [384, 640], None),
    _ultralytics("classify", "classify", [224, 224], 224),
    Case("torchvision", {}, "torchvision", 224),
    # depth-anything/Depth-Anything-V2-Small-hf
    Case("depth-anything", {
        "image_processor_type": "DPTImageProcessor", "do_normalize": True, "do_pad": False, "do_rescale": True,
        "do_resize": True, "ensure_multiple_of": 14, "keep_aspect_ratio": True, "image_mean": IMAGENET_MEAN,
        "image_std": IMAGENET_STD, "resample": 3, "size": {"height": 518, "width": 518}, "size_divisor": None,
    }),
    Case("poolformer-s24", {
        "image_processor_type": "PoolFormerImageProcessor", "crop_pct": 0.95, "resample": 3,
        "size": {"shortest_edge": 224}, "crop_size": {"height": 224, "width": 224},
    }),
    Case("deit-oblong", {
        "image_processor_type": "DeiTImageProcessor", "size": {"height": 300, "width": 250},
        "crop_size": {"height": 240, "width": 224},
    }),
)  # fmt: skip
