"""The best class of each pixel, and one segment for each class."""

from collections.abc import Callable, Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from engine.preprocessing.geometry import Frame
from engine.tasks.masks import Region, computed_size, interpolate, on_picture, png, visible_region
from engine.tasks.outputs import Array
from engine.tasks.predictions import Prediction, Segment
from engine.tasks.task import PredictOptions, label_of
from loaders.images.base import Size

DEFAULT_SEGMENTS = 100

# Resizes a plane (h, w) of the whole input for a region of the picture.
ResizePlane = Callable[[Array, Frame, Region, Size], Array]


def bilinear(plane: Array, frame: Frame, region: Region, size: Size) -> Array:
    """Bilinear as torch.nn.functional.interpolate, without antialiasing."""
    return interpolate(plane, frame, region, size, cv2.INTER_LINEAR)


def class_map(logits: Array, frame: Frame, resize: ResizePlane, least: float | None = None) -> NDArray[np.int16]:
    """The class of each pixel in the visible region of the picture, -1 for none, from logits (C, h, w).

    A logit has to be above `least`; default: 0 for a single class. Works class by class, to hold at most three planes
    of the result's size.
    """
    region = visible_region(frame)
    size = computed_size(region)
    least = (0.0 if len(logits) == 1 else -np.inf) if least is None else least
    best = np.full((size.height, size.width), least, np.float32)
    classes = np.full(best.shape, -1, np.int16)
    for class_id, plane in enumerate(logits):
        resized = resize(plane, frame, region, size)
        np.copyto(classes, np.int16(class_id), where=resized > best)
        np.maximum(best, resized, out=best)
    return classes


def segments_by_class(
    classes: NDArray[np.int16], labels: Sequence[str], frame: Frame, options: PredictOptions
) -> list[Prediction]:
    """One segment for each class of a `class_map`, the largest first."""
    class_ids, areas = np.unique(classes[classes >= 0], return_counts=True)
    top_k = DEFAULT_SEGMENTS if options.top_k is None else options.top_k
    largest = class_ids[np.argsort(-areas, kind="stable")][:top_k]
    return [Segment(label_of(labels, int(i)), int(i), None, png(whole_mask(classes == i, frame))) for i in largest]


def whole_mask(inside: NDArray[np.bool_], frame: Frame) -> NDArray[np.uint8]:
    """255 inside and 0 elsewhere in the picture, from a mask of its visible region."""
    mask = inside.astype(np.uint8) * np.uint8(255)
    return on_picture(mask, visible_region(frame), frame.picture)
