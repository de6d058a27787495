"""Segments of MaskFormer, Mask2Former and DETR: each of their queries has a class and a mask."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import islice

import cv2
import numpy as np
from numpy.typing import NDArray

from engine.preprocessing.geometry import Frame
from engine.tasks.activations import sigmoid, softmax
from engine.tasks.class_maps import DEFAULT_SEGMENTS, bilinear, class_map, segments_by_class, whole_mask
from engine.tasks.masks import computed_size, interpolate, png, visible_region
from engine.tasks.outputs import Array, check_labels, find_outputs, read_outputs, shortest
from engine.tasks.predictions import Prediction, Segment
from engine.tasks.task import InvalidOutputError, PredictOptions, Task, label_of
from loaders.model_errors import ModelSpecError
from loaders.repository.specs.model_spec import Head, ModelSpec, Subtask
from loaders.runtimes.base import Session
from loaders.tensors import Tensor

_RANKS = (3, 4)  # class logits (N, Q, C + 1), mask logits (N, Q, h, w)

# Of transformers' image-segmentation pipeline.
_MASK_THRESHOLD = 0.5
_OVERLAP_THRESHOLD = 0.5

_MASK2FORMER_SIZE = (384, 384)


# The mask of a query in the visible region of the picture.
_MaskOf = Callable[[int], NDArray[np.bool_]]


@dataclass(frozen=True, slots=True)
class _Found:
    query: int
    class_id: int
    score: np.float32


class QuerySegmentation(Task):
    """As transformers' `post_process_panoptic_segmentation` and its siblings for instance and semantic segments.

    Instances may overlap: each has its whole mask, as with `return_binary_maps`.
    """

    def __init__(self, spec: ModelSpec) -> None:
        self._spec = spec

    def check(self, session: Session) -> None:
        logits, _ = find_outputs(session, self._spec.outputs, _RANKS)
        classes = logits.shape[2] - 1 if logits.shape and logits.shape[2] is not None else None
        if classes is not None and classes < 1:
            raise ModelSpecError(f"the output {logits.name} of the shape {logits.shape} has no classes")
        check_labels(self._spec.labels, classes)

    def postprocess(self, outputs: Mapping[str, Tensor], frame: Frame, options: PredictOptions) -> list[Prediction]:
        logits, masks = (output[0] for output in read_outputs(outputs, self._spec.outputs, _RANKS))
        if len(logits) != len(masks) or logits.shape[1] < 2:
            raise InvalidOutputError(f"class logits {logits.shape} and masks {masks.shape} do not belong together")
        if self._spec.head is Head.MASK2FORMER:
            masks = np.stack([cv2.resize(mask, _MASK2FORMER_SIZE, interpolation=cv2.INTER_LINEAR) for mask in masks])
        scores = softmax(logits)
        if self._spec.subtask is Subtask.SEMANTIC:
            planes = np.tensordot(scores[:, :-1].T, sigmoid(masks), axes=1)
            return segments_by_class(class_map(planes, frame, bilinear, -1), self._spec.labels, frame, options)
        find = _instances if self._spec.subtask is Subtask.INSTANCE else _panoptic
        threshold = self._spec.score_threshold if options.threshold is None else options.threshold
        found, mask_of = find(scores, masks, frame, threshold)
        found.sort(key=lambda segment: -segment.score)
        segments = ((one, mask) for one in found if (mask := mask_of(one.query)).any())
        top_k = DEFAULT_SEGMENTS if options.top_k is None else options.top_k
        return [self._segment(one, mask, frame) for one, mask in islice(segments, top_k)]

    def _segment(self, found: _Found, mask: NDArray[np.bool_], frame: Frame) -> Segment:
        label = label_of(self._spec.labels, found.class_id)
        return Segment(label, found.class_id, shortest(found.score), png(whole_mask(mask, frame)))


def _panoptic(scores: Array, masks: Array, frame: Frame, threshold: float) -> tuple[list[_Found], _MaskOf]:
    """Each pixel belongs to one query: that with the highest product of its mask and its score.

    A query is dropped if others take half of its mask or more. Works query by query, to hold few planes of the
    picture's size.
    """
    region = visible_region(frame)
    size = computed_size(region)
    class_ids, best = scores.argmax(axis=1), scores.max(axis=1)
    queries = np.flatnonzero((class_ids != scores.shape[1] - 1) & (best > threshold))
    highest = np.full((size.height, size.width), -1, np.float32)
    owner = np.zeros(highest.shape, np.intp)
    areas = np.zeros(len(masks), np.intp)
    for query in queries:
        weighted = bilinear(sigmoid(masks[query]), frame, region, size) * best[query]
        areas[query] = np.count_nonzero(weighted >= _MASK_THRESHOLD)
        np.copyto(owner, query, where=weighted > highest)
        np.maximum(highest, weighted, out=highest)
    owned = np.bincount(owner.reshape(-1), minlength=len(masks))
    kept = queries[(areas[queries] > 0) & (owned[queries] > _OVERLAP_THRESHOLD * areas[queries])]
    return [_Found(int(query), int(class_ids[query]), best[query]) for query in kept], lambda query: owner == query


def _instances(scores: Array, masks: Array, frame: Frame, threshold: float) -> tuple[list[_Found], _MaskOf]:
    """The best pairs of a query and a class, as many as queries. Their scores include the mean inside the mask."""
    pairs = scores[:, :-1].reshape(-1)
    best = np.argsort(-pairs, kind="stable")[: len(masks)]
    found = []
    for pair in best[pairs[best] >= threshold]:
        query, class_id = divmod(int(pair), scores.shape[1] - 1)
        inside = masks[query] > 0
        certainty = sigmoid(masks[query])[inside].sum() / (np.count_nonzero(inside) + 1e-6)
        found.append(_Found(query, class_id, np.float32(pairs[pair] * certainty)))
    region = visible_region(frame)

    def mask_of(query: int) -> NDArray[np.bool_]:
        inside = (masks[query] > 0).astype(np.uint8)
        return interpolate(inside, frame, region, region.size, cv2.INTER_NEAREST) > 0

    return [one for one in found if one.score >= threshold], mask_of
