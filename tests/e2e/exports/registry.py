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
