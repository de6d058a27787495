"""Masks as the formats have them: run-length codes of COCO, and outlines."""

import cv2
import numpy as np
from numpy.typing import NDArray

from engine.tasks.masks import from_png

Mask = NDArray[np.bool_]

_INSIDE = 127
_DETAIL = 0.002  # of an outline's length: how far a polygon may leave it


def decode(mask: str) -> Mask:
    """The pixels of a prediction's `mask`: (H, W). Half of a matte is inside."""
    return np.asarray(from_png(mask) > _INSIDE)


def run_lengths(mask: Mask) -> str:
    """The `counts` of COCO: lengths of runs of 0 and 1 down the columns, each relative to the one before the last.

    Groups of five bits as characters from "0" on, the lowest first; the sixth bit says that another one follows.
    """
    column = mask.ravel(order="F")
    changes = np.flatnonzero(column[1:] != column[:-1]) + 1
    borders = np.concatenate([[0] if column[0] else [], [0], changes, [column.size]])
    lengths = np.diff(borders).astype(np.int64)
    relative = lengths.copy()
    relative[3:] -= lengths[1:-2]
    return "".join(map(_characters, relative.tolist()))


def _characters(value: int) -> str:
    text = ""
    while True:
        bits, value = value & 0x1F, value >> 5
        last = value == (-1 if bits & 0x10 else 0)
        text += chr(48 + (bits if last else bits | 0x20))
        if last:
            return text


def bounds(mask: Mask) -> tuple[int, int, int, int]:
    """Left, top, width and height of what is inside."""
    left, top, width, height = cv2.boundingRect(mask.astype(np.uint8))
    return left, top, width, height


def polygons(mask: Mask) -> list[NDArray[np.float64]]:
    """The outer outlines of at least three corners, the longest first: (N, 2), x and y in pixels."""
    outlines, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    simple = [cv2.approxPolyDP(line, _DETAIL * cv2.arcLength(line, True), True) for line in outlines]
    found = [np.asarray(line, np.float64).reshape(-1, 2) + 0.5 for line in simple if len(line) >= 3]
    return sorted(found, key=len, reverse=True)
