"""What an export is, and what its framework answers about a picture."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tests.e2e.exports.pictures import PICTURES

Array = NDArray[Any]

# What a framework answers, by the kind of the answer; arrays only, as one .npz holds them:
#   image-classification       scores (C,), labels (C,) if the export has them
#   object-detection           boxes (N, 4), scores (N,), labels (N,); oriented: corners (N, 4, 2) in place of boxes
#   keypoint-detection         boxes, scores, labels, keypoints (N, K, 3): x, y, score
#   image-segmentation         classes (H, W), labels (C,); with objects: masks (N, H, W), scores (N,), labels (N,)
#   image-feature-extraction   vector (D,)
#   depth-estimation           depth (H, W)
#   tensor                     tensor (...)
# Pixels are those of the upright picture.
Answer = Mapping[str, Array]
Answerer = Callable[[Path], Answer]
# Writes the export into the folder, which is named after the model, and returns the framework's answers.
Maker = Callable[[Path], Answerer]

THRESHOLD = 0.3  # at which detectors are asked
MOST_OBJECTS = 1000  # of an answer


@dataclass(frozen=True, slots=True)
class Case:
    """One export. `bound`: the largest distance allowed (see `distances.py`), of every picture.

    `toml`: lines of model.toml without which the answers are those of another recipe; the drop without them has to
    warn of each of their fields. `pictures`: those that it is asked about.
    `threshold`: of objects, asked of both; None is each one's default. `unlike`: what of it Fovea does not do; the drop
    has to warn, and may answer otherwise.
    """

    name: str
    exporter: str
    task: str
    make: Maker
    bound: float
    toml: tuple[str, ...] = ()
    pictures: tuple[str, ...] = PICTURES
    threshold: float | None = None
    unlike: str = ""

    @property
    def fields(self) -> list[str]:
        """The fields that `toml` sets, as warnings name them."""
        found, table = [], ""
        for line in self.toml:
            if line.startswith("["):
                table = line.strip("[]") + "."
            else:
                found.append(table + line.partition("=")[0].strip())
        return found


def write_answer(file: Path, answer: Answer) -> None:
    arrays: dict[str, Any] = {name: np.asarray(value) for name, value in answer.items()}
    np.savez_compressed(file, **arrays)


def read_answer(file: Path) -> Answer:
    with np.load(file) as arrays:
        return dict(arrays)
