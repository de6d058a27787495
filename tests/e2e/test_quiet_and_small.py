"""What a service takes when it starts, while it is idle, and while it loads."""

import os
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
from onnx import TensorProto, helper, numpy_helper

from tests.e2e.services import CAT, RED, admin, answers, cpu_share, eventually, label, make_models, service_under
from tests.paths import ROOT
from tests.process import Service, running_service
from tests.tiny_models import add_model, slow_graph

MIB = 1 << 20
# 150 to 165 MiB were measured on two cores; the rest is room for other machines. Two processes take about 300 MiB.
MEMORY_MIB = 200
TUNED = {"API_MODEL_LOADER": "onnxruntime", "API_INTRA_OP_THREADS": "", "API_MAX_BATCH": ""}

PEAK = """
import re, sys
from pathlib import Path
from loaders.runtimes.base import SessionOptions
from loaders.runtimes.onnxruntime_loader import OnnxRuntimeLoader

def peak():
    return int(re.findall(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[0])

loader = OnnxRuntimeLoader()
before = peak()
session = loader.load(Path(sys.argv[1]), SessionOptions(cache=Path(sys.argv[2])))
print((peak() - before) // 1024)
"""


def test_a_service_with_the_default_model_is_small(tmp_path: Path) -> None:
    """The second start, as usual: graph and measurement are cached."""
    for _ in range(2):
        with running_service(API_CACHE_DIR=str(tmp_path), API_WORKERS="1", **TUNED) as service:
            eventually(lambda: len(service.processes()) == 1)  # the check of the model has ended
            memory = service.pss_mb()
    assert memory < MEMORY_MIB


def test_an_idle_service_uses_no_cpu_and_the_runtime_logs_no_affinity_error(tmp_path: Path) -> None:
    """Threads that spin would use a whole core; the runtime complains of threads pinned to forbidden cores."""
    core = min(os.sched_getaffinity(0))
    with service_under(
        *("taskset", "-c", str(core)),
        models=None,
        cache=tmp_path,
        API_MODEL_LOADER="onnxruntime",
        API_INTRA_OP_THREADS="",
        API_MAX_BATCH="",
    ) as service:
        assert [label(service, CAT) for _ in range(5)] == ["tiger cat"] * 5
        eventually(lambda: len(service.processes()) == 1)
        eventually(lambda: cpu_share(service.pid) < 0.1)
        assert "affinity" not in service.log_text


def test_loading_takes_little_more_memory_than_the_weights(tmp_path: Path) -> None:
    """At the first load, which writes the optimised graph, and at the next, which maps it."""
    weights = np.random.default_rng(0).random((2048, 8192), np.float32)  # 64 MiB
    nodes = [
        helper.make_node("ReduceMean", ["image"], ["mean"], axes=[1, 2, 3], keepdims=0),
        helper.make_node("Expand", ["mean", "length"], ["vector"]),
        helper.make_node("MatMul", ["vector", "weights"], ["logits"]),
    ]
    constants = [numpy_helper.from_array(weights, "weights"), numpy_helper.from_array(np.array([1, 2048]), "length")]
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 3, 8, 8])
    logits = helper.make_tensor_value_info("logits", TensorProto.FLOAT, [1, 8192])
    graph = helper.make_graph(nodes, "large", [image], [logits], constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    path = tmp_path / "model.onnx"
    path.write_bytes(model.SerializeToString())
    size = path.stat().st_size / MIB
    first, then = (
        int(subprocess.check_output([sys.executable, "-c", PEAK, path, tmp_path / "cache"], cwd=ROOT)) for _ in range(2)
    )
    assert first < 5 * size, f"{first} MiB for {size:.0f}"
    assert then < 2.5 * size, f"{then} MiB for {size:.0f}"


def test_requests_are_answered_while_other_models_load(tmp_path: Path) -> None:
    """Loads use neither the event loop nor the worker threads."""
    models = make_models(tmp_path / "models")
    with service_under(models=models, API_LOAD="all") as service, admin(service) as boss:
        eventually(lambda: answers(service, query="?model=other"))
        for number in range(3):
            add_model(models, f"slow{number}", slow_graph(rounds=150))
        eventually(lambda: "slow2" in boss.get("/models").text)
        loads = [threading.Thread(target=_load, args=(service, f"slow{number}")) for number in range(3)]
        for load in loads:
            load.start()
        answered = 0
        while any(load.is_alive() for load in loads):
            assert answers(service, RED)
            answered += 1
        assert answered > 5


def _load(service: Service, name: str) -> None:
    with admin(service) as boss:
        boss.post(f"/models/{name}/load", timeout=60)
