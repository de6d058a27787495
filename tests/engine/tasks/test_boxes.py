"""Non-maximum suppression against a plain double loop, and its bounds."""

import numpy as np
import pytest
from numpy.typing import NDArray

from engine.tasks.boxes import MAX_CANDIDATES, Candidates, all_classes, candidates, suppress


def random_candidates(seed: int, count: int, classes: int = 3) -> Candidates:
    rng = np.random.default_rng(seed)
    corner, size = rng.uniform(0, 100, (count, 2)), rng.uniform(10, 60, (count, 2))
    boxes = np.concatenate([corner, corner + size], axis=1).astype(np.float32)
    return candidates(boxes, rng.uniform(0, 1, count).astype(np.float32), rng.integers(0, classes, count))


def overlap(one: NDArray[np.float32], other: NDArray[np.float32]) -> float:
    width = min(one[2], other[2]) - max(one[0], other[0])
    height = min(one[3], other[3]) - max(one[1], other[1])
    shared = float(max(0, width) * max(0, height))
    areas = [float((box[2] - box[0]) * (box[3] - box[1])) for box in (one, other)]
    return shared / (sum(areas) - shared)


def plain_suppression(found: Candidates, iou_threshold: float) -> list[int]:
    kept: list[int] = []
    for i in np.argsort(-found.scores):
        rivals = [j for j in kept if found.class_ids[j] == found.class_ids[i]]
        if all(overlap(found.boxes[i], found.boxes[j]) <= iou_threshold for j in rivals):
            kept.append(int(i))
    return kept


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("iou_threshold", [0.0, 0.3, 0.7, 1.0])
def test_suppression_equals_a_plain_loop(seed: int, iou_threshold: float) -> None:
    found = random_candidates(seed, 120)
    kept = suppress(found, iou_threshold)
    np.testing.assert_array_equal(kept.scores, found.scores[plain_suppression(found, iou_threshold)])


def test_suppression_of_no_boxes_is_empty() -> None:
    assert len(suppress(random_candidates(0, 0), 0.5)) == 0


def test_suppression_of_many_boxes_is_bounded() -> None:
    """A hundred thousand boxes that do not overlap would take 10^10 comparisons."""
    side = np.arange(100_000, dtype=np.float32)
    boxes = np.stack([side * 2, side * 0, side * 2 + 1, side * 0 + 1], axis=1)
    scores = np.linspace(0.5, 1, len(side), dtype=np.float32)
    kept = suppress(candidates(boxes, scores, np.zeros(len(side))), 0.5)
    assert len(kept) == MAX_CANDIDATES
    assert kept.scores.min() == scores[-MAX_CANDIDATES]


def test_all_classes_are_bounded() -> None:
    scores = np.random.default_rng(0).uniform(size=(4000, 80)).astype(np.float32)
    found = all_classes(np.zeros((4000, 4), np.float32), scores, 0.0)
    assert len(found) == MAX_CANDIDATES
    np.testing.assert_array_equal(found.scores, np.sort(scores.reshape(-1))[::-1][:MAX_CANDIDATES])
