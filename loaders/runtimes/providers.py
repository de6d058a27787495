"""Execution providers: their names, how each is set up, and which of them `auto` tries.

`auto` takes the first of `BEST_FIRST` that the installed runtime has and that comes up; the CPU always does. These are
the ones that start at once and that somebody has installed on purpose: requirements/gpu.txt, requirements/openvino.txt,
or a runtime for DirectML. The others serve whoever names them:

- tensorrt builds its engine for minutes when a model is loaded for the first time;
- coreml is part of every runtime on macOS, asked for or not, and computes in 16 bits on some of its units.
"""

import ctypes
import sys
from collections.abc import Sequence
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from loaders.runtimes.base import AUTO

CPU = "CPUExecutionProvider"
CUDA = "CUDAExecutionProvider"
TENSORRT = "TensorrtExecutionProvider"
OPENVINO = "OpenVINOExecutionProvider"
COREML = "CoreMLExecutionProvider"
DIRECTML = "DmlExecutionProvider"

SHORT_NAMES = {
    "cpu": CPU, "cuda": CUDA, "tensorrt": TENSORRT, "openvino": OPENVINO, "coreml": COREML, "directml": DIRECTML,
}  # fmt: skip
BEST_FIRST = (CUDA, DIRECTML, OPENVINO)

# They compute on the processor's own cores; OpenVINO as it is set up here.
_ON_CORES = {CPU, OPENVINO, "XnnpackExecutionProvider", "DnnlExecutionProvider", "ACLExecutionProvider"}
_NOT_TRIED = {
    TENSORRT: "it builds its engine for minutes; name tensorrt to take it",
    COREML: "it may compute in 16 bits; name coreml to take it",
}
_NVIDIA_DRIVER = "libcuda.so.1"

Provider = tuple[str, dict[str, str]]


def full_name(name: str) -> str:
    """The runtime's own name, for a short one or for itself."""
    return SHORT_NAMES.get(name, name)


def runs_on_cores(running: Sequence[str]) -> bool:
    """Of providers in order of preference, the first decides."""
    return running[0] in _ON_CORES


def on_cores_alone(names: Sequence[str], available: Sequence[str]) -> bool:
    """Whether no device can come into play, of those that are `available`."""
    tried = [name for name in BEST_FIRST if name in available] if AUTO in names else map(full_name, names)
    return _ON_CORES.issuperset(tried)


def not_tried(available: Sequence[str]) -> list[str]:
    """A sentence for each provider that is here and that `auto` passes over."""
    return [f"{name} was not tried: {reason}" for name, reason in _NOT_TRIED.items() if name in available]


def set_up(names: Sequence[str], threads: int, cache: Path | None) -> list[Provider]:
    """With the CPU last, for the operators that an accelerator does not know."""
    return [(name, _options(name, threads, cache)) for name in (names if CPU in names else [*names, CPU])]


def _options(name: str, threads: int, cache: Path | None) -> dict[str, str]:
    match name:
        case "CUDAExecutionProvider":
            # By default it tries all algorithms at each new size of input, for seconds, and doubles its memory when it
            # needs a little more.
            return {"cudnn_conv_algo_search": "HEURISTIC", "arena_extend_strategy": "kSameAsRequested"}
        case "TensorrtExecutionProvider":
            return _engine_cache(cache) if cache else {}
        case "OpenVINOExecutionProvider":
            # Else it takes all cores for each run, and 16-bit arithmetic where the processor has it.
            return {"device_type": "CPU", "precision": "FP32", "num_of_threads": str(threads)}
        case _:
            return {}


def _engine_cache(cache: Path) -> dict[str, str]:
    folder = str(cache / "tensorrt")
    return {
        "trt_engine_cache_enable": "1",
        "trt_engine_cache_path": folder,
        "trt_timing_cache_enable": "1",
        "trt_timing_cache_path": folder,
    }


def why_not(name: str) -> str:
    """Why a provider that is here did not come up, as far as it can be told; the runtime says more on stderr."""
    if name in (CUDA, TENSORRT) and sys.platform == "linux" and not _loads(_NVIDIA_DRIVER):
        return f"{name} did not come up: there is no NVIDIA driver ({_NVIDIA_DRIVER})"
    return f"{name} did not come up: its device, driver or libraries are missing"


def _loads(library: str) -> bool:
    try:
        ctypes.CDLL(library)
    except OSError:
        return False
    return True


@cache
def find_libraries(name: str) -> None:
    """CUDA's libraries may come as Python packages, where the runtime finds them only when told to look."""
    if name in (CUDA, TENSORRT) and find_spec("nvidia"):
        import onnxruntime

        onnxruntime.preload_dlls()
