"""Predictions of every task on a small picture, and the golden pictures of how they are drawn.

After a wanted change, `python -m tests.engine.drawing.drawings` writes the golden pictures anew; look at them.
"""

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from engine.drawing import Drawer
from engine.tasks.masks import png
from engine.tasks.predictions import (
    Box,
    Classification,
    DepthMap,
    Detection,
    FaceDetection,
    GeneratedText,
    InstanceSegment,
    Keypoint,
    KeypointDetection,
    OrientedDetection,
    Prediction,
    Segment,
)
from loaders.images.base import ImageInfo, Picture
from tests.pictures import scene

GOLDEN = Path(__file__).with_name("golden")
WIDTH, HEIGHT = 160, 120


def picture() -> Picture:
    return Picture(scene(WIDTH, HEIGHT), ImageInfo("PNG", WIDTH, HEIGHT))


def _disc(x: int, y: int, radius: int) -> str:
    mask = np.zeros((HEIGHT, WIDTH), np.uint8)
    cv2.circle(mask, (x, y), radius, 255, cv2.FILLED)
    return png(mask)


def _ramp(most: int) -> NDArray[np.float64]:
    return np.tile(np.linspace(0, most, WIDTH), (HEIGHT, 1))


_JOINTS = ((60.0, 40.0, 0.9), (90.0, 60.0, 0.8), (75.0, 90.0, 0.7), (20.0, 20.0, 0.1))
CASES: dict[str, Sequence[Prediction]] = {
    "classification": [
        Classification("café", 3, 0.62),
        Classification("Łódź", 1, 0.25),
        Classification("a label that is too long for the picture", 2, 0.01),
    ],
    "detection": [
        Detection("cat", 0, 0.913, Box(40, 30.4, 120.5, 90)),
        Detection("at the top", 1, 0.5, Box(90, 0, 160, 50)),
        Detection("at the right", 2, 0.4, Box(150, 80, 160, 120)),
    ],
    "face": [
        FaceDetection("face", 4, 0.9, Box(50, 30, 110, 100), ((65, 50), (95, 50), (80, 65), (70, 80), (90, 80))),
    ],
    "oriented": [
        OrientedDetection("ship", 5, 0.8, Box(20, 20, 120, 100), ((60, 20), (120, 70), (80, 100), (20, 50)), 0.7),
    ],
    "keypoints": [
        KeypointDetection(
            "person", 6, 0.7, Box(50, 30, 100, 100),
            tuple(Keypoint(str(i), *joint) for i, joint in enumerate(_JOINTS)), ((0, 1), (1, 2), (2, 3)),
        ),
    ],
    "segments": [
        Segment("disc", 3, None, _disc(60, 60, 30)),
        Segment("matte", 1, None, png(_ramp(255).astype(np.uint8))),
    ],
    "instances": [
        InstanceSegment("left", 7, 0.9, _disc(60, 70, 30), Box(30, 40, 91, 101)),
        InstanceSegment("right", 8, 0.8, _disc(110, 70, 25), Box(85, 45, 136, 96)),
    ],
    "depth": [DepthMap(png(_ramp(65_535).astype(np.uint16)), 0.5, 12.25)],
    "text": [GeneratedText("Hello, world", 0.75)],
}  # fmt: skip


def drawn(name: str) -> NDArray[np.uint8]:
    return Drawer()(picture(), CASES[name])


if __name__ == "__main__":
    for case in CASES:
        Image.fromarray(drawn(case)).save(GOLDEN / f"{case}.png")
