"""ONNX Runtime alone: loads graphs one after another and runs each once.

Prints a line of JSON for each graph, with the seconds of load and first run and the memory (PSS) of the process.

python -m benchmarks.curves.bare_sessions GRAPH ...
"""

import json
import sys
from time import perf_counter

import numpy as np
import onnxruntime as ort
import psutil


def main() -> None:
    image, kept = np.zeros((1, 3, 224, 224), np.float32), []
    for graph in sys.argv[1:]:
        started = perf_counter()
        session = ort.InferenceSession(graph)
        session.run(None, {session.get_inputs()[0].name: image})
        seconds = perf_counter() - started
        kept.append(session)
        print(json.dumps({"seconds": seconds, "pss_mib": psutil.Process().memory_full_info().pss / 2**20}), flush=True)


if __name__ == "__main__":
    main()
