"""The model that every peer runs, and its answer. Model and port come from the environment."""

import os
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort

from benchmarks.peers.preprocess import preprocess

CORES = len(os.sched_getaffinity(0))
_TOP_K = 5


class Classifier:
    """Encoded picture -> answer. `threads`: intra-op threads of a run."""

    def __init__(self, threads: int) -> None:
        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        self._session = ort.InferenceSession(os.environ["BENCH_MODEL"], options)
        self._input = self._session.get_inputs()[0].name
        self._labels = Path(os.environ["BENCH_LABELS"]).read_text(encoding="utf-8").splitlines()

    def __call__(self, data: bytes) -> dict[str, Any]:
        """The five best predictions."""
        [logits] = self._session.run(None, {self._input: preprocess(data)})
        scores = np.exp(logits[0] - logits[0].max())
        scores /= scores.sum()
        best = [int(class_id) for class_id in np.argsort(-scores)[:_TOP_K]]
        return {"predictions": [{"label": self._labels[i], "class_id": i, "score": float(scores[i])} for i in best]}


def port() -> int:
    return int(os.environ["BENCH_PORT"])
