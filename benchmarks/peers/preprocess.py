"""The preprocessing of every peer.

Engineers write it with Pillow (full decode, bicubic) or with OpenCV (full decode, INTER_AREA). This is the second: it
is the faster one on every picture, and its best class is right on all photos of the benchmark.
"""

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

_SHORTEST_EDGE, _SIDE = 256, 224
_MEAN, _SCALE = 127.0, 1 / 128

cv2.setNumThreads(1)  # the other cores process other pictures


def preprocess(data: bytes) -> NDArray[Any]:
    """(1, 3, 224, 224) float32 RGB of an encoded picture."""
    pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    if pixels is None:
        raise ValueError("the picture cannot be decoded")
    return to_tensor(pixels)


def to_tensor(pixels: NDArray[Any]) -> NDArray[Any]:
    """BGR picture -> shortest edge 256, centre crop 224 x 224, (pixel - 127) / 128, RGB planes."""
    height, width = pixels.shape[:2]
    scale = _SHORTEST_EDGE / min(height, width)
    interpolation = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    pixels = cv2.resize(pixels, (round(width * scale), round(height * scale)), interpolation=interpolation)
    top, left = (pixels.shape[0] - _SIDE) // 2, (pixels.shape[1] - _SIDE) // 2
    crop = pixels[top : top + _SIDE, left : left + _SIDE]
    tensor: Any = cv2.dnn.blobFromImage(crop, _SCALE, (_SIDE, _SIDE), (_MEAN, _MEAN, _MEAN), swapRB=True)
    return tensor  # type: ignore[no-any-return]  # the stubs know no dtype
