"""All exports."""

from tests.e2e.exports import (
    classifiers,
    depth,
    detectors,
    segmenters,
    timm_models,
    torchvision_models,
    ultralytics_models,
    vectors,
)
from tests.e2e.exports.case import Case

_FAMILIES = (
    classifiers, vectors, detectors, segmenters, depth, timm_models, ultralytics_models, torchvision_models,
)  # fmt: skip

CASES: tuple[Case, ...] = tuple(case for family in _FAMILIES for case in family.CASES)

# Those that earlier releases answered in another way, and that are quick to make: `make exports QUICK=1`.
QUICK = {
    "hf-swin-tiny", "hf-levit-256", "hf-poolformer-s12", "hf-clip-vision-processor-config", "hf-maskformer-swin-tiny",
    "hf-depth-anything-small", "timm-convnext-nano-border", "timm-mobilenetv3-oblong", "yolo11n", "yolo11n-dynamic",
    "yolo11n-seg", "yolo11n-pose", "yolo11n-obb", "yolo26n-seg", "tv-resnet50-v2", "tv-resnet18-batch-4",
}  # fmt: skip
