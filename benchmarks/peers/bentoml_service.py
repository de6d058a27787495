"""BentoML: one worker process per core, started with `bentoml serve`; the picture is a file, as its guide shows."""

from pathlib import Path
from typing import Any

import bentoml

from benchmarks.peers.classifier import CORES, Classifier


@bentoml.service(
    workers=CORES,
    logging={"access": {"enabled": False}},
    metrics={"enabled": False},
)
class ImageClassifier:
    def __init__(self) -> None:
        self._classifier = Classifier(threads=1)

    @bentoml.api(route="/infer")
    def infer(self, image: Path) -> dict[str, Any]:
        return self._classifier(image.read_bytes())
