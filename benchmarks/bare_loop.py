"""The limit: decode, preprocess and run in a bare loop, without HTTP, queue, checks or answers.

Runs until it is ended and prints a line of JSON for each window: its length, the latency of each picture in seconds,
and the number of wrong classes among the pictures that were checked.

python -m benchmarks.bare_loop WAY GRAPH SECONDS FILE=CLASS,CLASS ...   (the right classes of the picture)
"""

import json
import multiprocessing
import sys
import threading
import tomllib
from collections.abc import Callable
from dataclasses import dataclass
from itertools import count, cycle
from multiprocessing.queues import Queue
from pathlib import Path
from time import perf_counter, sleep
from typing import Any

import cv2
import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from benchmarks.peers.preprocess import to_tensor
from engine.preprocessing.preprocessor import Preprocessor
from loaders.image_loader import create_image_loader
from loaders.images.headers import read_header
from loaders.repository.specs.model_spec import PreprocessSpec
from utils.cpu_budget import cpu_budget

_MODEL_TOML = Path(__file__).parent.parent / "models" / "efficientnet-lite0" / "model.toml"
_CHECK_EACH = 16
_WARM_UP_S = 0.3

# The decoder may scale a picture down to this shortest edge, twice what the resize needs.
_ENOUGH = 2 * 256

Steps = Callable[[bytes], NDArray[Any]]


@dataclass(frozen=True, slots=True)
class Way:
    """`processes` x `threads` loops, each run with `intra_op_threads`; 0 stands for the number of cores."""

    processes: int
    threads: int
    intra_op_threads: int
    steps: Callable[[], Steps]


@dataclass(frozen=True, slots=True)
class Sample:
    """An encoded picture and its right classes."""

    data: bytes
    classes: frozenset[int]


def fovea_steps() -> Steps:
    """Fovea's own decode and preprocess."""
    spec = PreprocessSpec(**tomllib.loads(_MODEL_TOML.read_text())["preprocess"], layout="NCHW", dtype="float32")
    preprocessor, loader = Preprocessor(spec), create_image_loader("opencv")
    return lambda data: preprocessor(loader.load(data, preprocessor.decode_size))


def inter_area_steps() -> Steps:
    """The least work that still gives right answers: the peers' steps behind OpenCV's scaled decode of large JPEGs."""

    def prepare(data: bytes) -> NDArray[Any]:
        info = read_header(data).info
        flags = cv2.IMREAD_COLOR
        if info.format == "JPEG":
            flags = _reduced(min(info.width, info.height))
        pixels = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
        assert pixels is not None
        return to_tensor(pixels)

    return prepare


WAYS = {
    "threads": Way(1, 0, 1, fovea_steps),
    "processes": Way(0, 1, 1, fovea_steps),
    "threads, INTER_AREA": Way(1, 0, 1, inter_area_steps),
    "processes, INTER_AREA": Way(0, 1, 1, inter_area_steps),
    "all cores in one run": Way(1, 1, 0, fovea_steps),
}


class Loops:
    """The loops of one process."""

    def __init__(self, way: Way, graph: str, samples: list[Sample]) -> None:
        options = ort.SessionOptions()
        options.intra_op_num_threads = way.intra_op_threads or cpu_budget()
        self._session = ort.InferenceSession(graph, options)
        self._input = self._session.get_inputs()[0].name
        self._prepare = way.steps()
        self._samples = samples
        self._latencies: list[float] = []
        self._wrong = 0
        cv2.setNumThreads(1)
        for first in range(way.threads or cpu_budget()):
            threading.Thread(target=self._loop, args=[first], daemon=True).start()

    def cut(self) -> tuple[list[float], int]:
        """Returns latencies and wrong answers since the last call."""
        latencies, self._latencies, wrong, self._wrong = self._latencies, [], self._wrong, 0
        return latencies, wrong

    def _loop(self, first: int) -> None:
        samples = cycle(self._samples[first:] + self._samples[:first])
        for number, sample in zip(count(), samples, strict=False):
            started = perf_counter()
            [scores] = self._session.run(None, {self._input: self._prepare(sample.data)})
            best = int(scores.argmax())
            self._latencies.append(perf_counter() - started)
            if number % _CHECK_EACH == 0:
                self._wrong += best not in sample.classes


def main() -> None:
    name, graph, seconds, *pictures = sys.argv[1:]
    way, window_s, samples = WAYS[name], float(seconds), [_sample(picture) for picture in pictures]
    context = multiprocessing.get_context("spawn")
    results: Queue[tuple[list[float], int]] = context.Queue()
    processes = way.processes or cpu_budget()
    for _ in range(processes):
        context.Process(target=_report, args=[name, graph, samples, window_s, results], daemon=True).start()
    while True:
        parts = [results.get() for _ in range(processes)]
        latencies = [latency for part, _ in parts for latency in part]
        print(json.dumps({"seconds": window_s, "latencies": latencies, "errors": sum(w for _, w in parts)}), flush=True)


def _report(
    name: str, graph: str, samples: list[Sample], window_s: float, results: "Queue[tuple[list[float], int]]"
) -> None:
    loops = Loops(WAYS[name], graph, samples)
    sleep(_WARM_UP_S)
    loops.cut()
    cut_at = perf_counter()
    while True:
        cut_at += window_s
        sleep(max(0.0, cut_at - perf_counter()))
        results.put(loops.cut())


def _reduced(shortest: int) -> int:
    if shortest >= 8 * _ENOUGH:
        return cv2.IMREAD_REDUCED_COLOR_8
    if shortest >= 4 * _ENOUGH:
        return cv2.IMREAD_REDUCED_COLOR_4
    return cv2.IMREAD_REDUCED_COLOR_2 if shortest >= 2 * _ENOUGH else cv2.IMREAD_COLOR


def _sample(argument: str) -> Sample:
    file, _, classes = argument.rpartition("=")
    return Sample(Path(file).read_bytes(), frozenset(int(class_id) for class_id in classes.split(",")))


if __name__ == "__main__":
    main()
