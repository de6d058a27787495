"""Writes `golden/*.npz`: what transformers and Ultralytics make of raw outputs, for comparison in `test_golden.py`.

Outputs are random, and such that boxes overlap and masks meet. Needs a separate environment with torch, transformers
and ultralytics:

    python tests/engine/tasks/make_golden.py
"""

import math
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch  # type: ignore[import-not-found]  # not in the locks
from numpy.typing import NDArray
from transformers import (  # type: ignore[import-not-found]  # not in the locks
    DPTImageProcessor,
    Mask2FormerImageProcessor,
    MaskFormerImageProcessor,
)
from ultralytics.utils import ops  # type: ignore[import-not-found]  # not in the locks
from ultralytics.utils.nms import non_max_suppression  # type: ignore[import-not-found]  # not in the locks

GOLDEN = Path(__file__).with_name("golden")

TARGET = (96, 96)  # height, width
PICTURES = {"landscape": (120, 200), "portrait": (150, 90), "small": (31, 40)}
CLASSES, KEYPOINTS, PROTOTYPES = 3, 5, 4
THRESHOLDS = (0.25, 0.7)  # score, IoU
SEGMENT_THRESHOLDS = {"threshold": 0.5, "mask_threshold": 0.5, "overlap_mask_area_threshold": 0.5}

Array = NDArray[np.float32]


def main() -> None:
    GOLDEN.mkdir(exist_ok=True)
    for name, outputs, answer in (
        ("pose", {"output0": _columns(3 * KEYPOINTS, points)}, _pose),
        ("pose-end-to-end", {"output0": _rows(3 * KEYPOINTS, points)}, _pose),
        ("obb", {"output0": _columns(1, angles)}, _obb),
        ("obb-end-to-end", {"output0": _rows(1, angles)}, _obb),
        ("depth", {"predicted_depth": _smooth(1, 14, 18)[0][None]}, _depth),
        ("maskformer", _queries(), _segments(MaskFormerImageProcessor())),
        ("mask2former", _queries(), _segments(Mask2FormerImageProcessor())),
        ("masks", {"output0": _columns(PROTOTYPES, weights), "output1": _smooth(PROTOTYPES, 24, 24)[None]}, _masks),
    ):
        answers: dict[str, Any] = {
            f"{picture}:{key}": value for picture in PICTURES for key, value in answer(outputs, picture).items()
        }
        np.savez_compressed(GOLDEN / f"{name}.npz", **{**outputs, **answers})
        print(name, *(f"{key}{value.shape}" for key, value in answers.items()))  # noqa: T201 - a command


RANDOM = np.random.default_rng(7)


def points(boxes: Array) -> Array:
    """(B, 3 * KEYPOINTS) about the boxes, with scores."""
    xy = boxes[:, None, :2] + RANDOM.normal(0, 12, (len(boxes), KEYPOINTS, 2))
    scores = RANDOM.uniform(0, 1, (len(boxes), KEYPOINTS, 1))
    return np.concatenate([xy, scores], axis=2).reshape(len(boxes), -1).astype(np.float32)


def angles(boxes: Array) -> Array:
    return RANDOM.uniform(-math.pi / 4, 3 * math.pi / 4, (len(boxes), 1)).astype(np.float32)


def weights(boxes: Array) -> Array:
    return RANDOM.normal(0, 1, (len(boxes), PROTOTYPES)).astype(np.float32)


def _boxes(count: int) -> tuple[Array, Array]:
    """Centres and sizes (B, 4) in a few heaps, and scores (B, C)."""
    heaps = RANDOM.uniform(10, 86, (count // 8, 2)).repeat(8, axis=0)
    boxes = np.concatenate([heaps + RANDOM.normal(0, 2, (count, 2)), RANDOM.uniform(14, 30, (count, 2))], axis=1)
    return boxes.astype(np.float32), (RANDOM.uniform(0, 1, (count, CLASSES)) ** 4).astype(np.float32)


def _columns(values: int, further: Callable[[Array], Array]) -> Array:
    boxes, scores = _boxes(120)
    columns = np.concatenate([boxes, scores, further(boxes)], axis=1).T[None]
    assert columns.shape[1] == 4 + CLASSES + values
    return np.ascontiguousarray(columns)


def _rows(values: int, further: Callable[[Array], Array]) -> Array:
    """Rotated boxes stay centres and sizes, others are corners."""
    boxes, scores = _boxes(40)
    best, class_ids = -np.sort(-scores.max(axis=1)), scores.argmax(axis=1).astype(np.float32)
    places = (
        boxes
        if values == 1
        else np.concatenate([boxes[:, :2] - boxes[:, 2:] / 2, boxes[:, :2] + boxes[:, 2:] / 2], axis=1)
    )
    return np.concatenate([places, best[:, None], class_ids[:, None], further(boxes)], axis=1)[None]


def _smooth(count: int, height: int, width: int) -> Array:
    coarse = torch.from_numpy(RANDOM.normal(0, 5, (1, count, 5, 6)).astype(np.float32))
    planes: Array = torch.nn.functional.interpolate(coarse, size=(height, width), mode="bicubic")[0].numpy()
    return planes


def _queries() -> dict[str, Array]:
    logits = RANDOM.normal(0, 1, (1, 12, CLASSES + 1))
    logits[0, np.arange(12), RANDOM.integers(0, CLASSES + 1, 12)] += RANDOM.uniform(2, 7, 12)
    return {"class_queries_logits": logits.astype(np.float32), "masks_queries_logits": _smooth(12, 24, 24)[None] - 3}


def _found(outputs: dict[str, Array], *, rotated: bool) -> torch.Tensor:
    raw = torch.from_numpy(outputs["output0"].copy())
    final = raw.shape[2] == 6 + (1 if rotated else 3 * KEYPOINTS)
    return non_max_suppression(raw, *THRESHOLDS, nc=CLASSES, rotated=rotated, end2end=final)[0]


def _pose(outputs: dict[str, Array], picture: str) -> dict[str, Array]:
    found = _found(outputs, rotated=False)
    found[:, :4] = ops.scale_boxes(TARGET, found[:, :4], PICTURES[picture])
    keypoints = ops.scale_coords(TARGET, found[:, 6:].reshape(len(found), KEYPOINTS, 3), PICTURES[picture])
    return {"rows": found[:, :6].numpy(), "keypoints": keypoints.numpy()}


def _obb(outputs: dict[str, Array], picture: str) -> dict[str, Array]:
    found = _found(outputs, rotated=True)
    boxes = torch.cat([found[:, :4], found[:, -1:]], dim=-1)
    boxes[:, :4] = ops.scale_boxes(TARGET, boxes[:, :4], PICTURES[picture], xywh=True)
    return {"rows": found[:, 4:].numpy(), "corners": ops.xywhr2xyxyxyxy(boxes).numpy()}


def _masks(outputs: dict[str, Array], picture: str) -> dict[str, Array]:
    """As SegmentationPredictor with `retina_masks`, which drops empty masks."""
    found = non_max_suppression(torch.from_numpy(outputs["output0"].copy()), *THRESHOLDS, nc=CLASSES)[0]
    found[:, :4] = ops.scale_boxes(TARGET, found[:, :4], PICTURES[picture])
    prototypes = torch.from_numpy(outputs["output1"][0])
    masks = ops.process_mask_native(prototypes, found[:, 6:], found[:, :4], PICTURES[picture])
    kept = masks.amax((-2, -1)) > 0
    return {"rows": found[kept, :6].numpy(), "masks": np.packbits(masks[kept].numpy(), axis=-1)}


def _depth(outputs: dict[str, Array], picture: str) -> dict[str, Array]:
    raw = SimpleNamespace(predicted_depth=torch.from_numpy(outputs["predicted_depth"]))
    (found,) = DPTImageProcessor().post_process_depth_estimation(raw, [PICTURES[picture]])
    return {"predicted_depth": found["predicted_depth"].numpy()}


def _segments(
    processor: MaskFormerImageProcessor | Mask2FormerImageProcessor,
) -> Callable[[dict[str, Array], str], dict[str, Array]]:
    def answer(outputs: dict[str, Array], picture: str) -> dict[str, Array]:
        raw = SimpleNamespace(**{name: torch.from_numpy(array) for name, array in outputs.items()})
        sizes: dict[str, Any] = {"target_sizes": [PICTURES[picture]]}
        (panoptic,) = processor.post_process_panoptic_segmentation(raw, **SEGMENT_THRESHOLDS, **sizes)
        (instance,) = processor.post_process_instance_segmentation(
            raw, **SEGMENT_THRESHOLDS, **sizes, return_binary_maps=True
        )
        (semantic,) = processor.post_process_semantic_segmentation(raw, **sizes)
        return {
            "panoptic": panoptic["segmentation"].numpy().astype(np.int8),
            "panoptic_info": _info(panoptic),
            "instance": instance["segmentation"].numpy().astype(np.bool_),
            "instance_info": _info(instance),
            "semantic": semantic.numpy().astype(np.int8),
        }

    return answer


def _info(result: dict[str, Any]) -> Array:
    """(S, 3): id, class id, score."""
    rows = [[segment["id"], segment["label_id"], segment["score"]] for segment in result["segments_info"]]
    return np.array(rows, np.float32)


if __name__ == "__main__":
    main()
