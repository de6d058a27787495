"""Execution providers: their names and options, and which of them `auto` tries.

`auto` takes the first of `BEST_FIRST` that is installed and comes up, else the CPU. Two providers have to be named:

- tensorrt builds its engine for minutes when it loads a model for the first time;
- coreml is part of every runtime on macOS and may compute in 16 bits.
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

# Providers that run on the processor's cores; OpenVINO with the options below.
_ON_CORES = {CPU, OPENVINO, "XnnpackExecutionProvider", "DnnlExecutionProvider", "ACLExecutionProvider"}
_NOT_TRIED = {
    TENSORRT: "it builds its engine for minutes; name tensorrt to use it",
    COREML: "it may compute in 16 bits; name coreml to use it",
}
_NVIDIA_DRIVER = "libcuda.so.1"

Provider = tuple[str, dict[str, str]]


def full_name(name: str) -> str:
    """Returns the runtime's name of a provider, given that name or the short one."""
    return SHORT_NAMES.get(name, name)


def runs_on_cores(running: Sequence[str]) -> bool:
    """Whether the first of the providers in use runs on the processor's cores."""
    return running[0] in _ON_CORES


def on_cores_alone(names: Sequence[str], available: Sequence[str]) -> bool:
    """Whether these providers can only run on the processor's cores, given the `available` ones."""
    tried = [name for name in BEST_FIRST if name in available] if AUTO in names else map(full_name, names)
    return _ON_CORES.issuperset(tried)


def not_tried(available: Sequence[str]) -> list[str]:
    """Returns a sentence for each available provider that `auto` skips."""
    return [f"{name} was not tried: {reason}" for name, reason in _NOT_TRIED.items() if name in available]


def set_up(names: Sequence[str], threads: int, cache: Path | None) -> list[Provider]:
    """Returns providers with their options; the CPU comes last, for operators that an accelerator lacks."""
    return [(name, _options(name, threads, cache)) for name in (names if CPU in names else [*names, CPU])]


def _options(name: str, threads: int, cache: Path | None) -> dict[str, str]:
    match name:
        case "CUDAExecutionProvider":
            # The defaults try all algorithms for seconds at each new input size, and grow memory by doubling it.
            return {"cudnn_conv_algo_search": "HEURISTIC", "arena_extend_strategy": "kSameAsRequested"}
        case "TensorrtExecutionProvider":
            return _engine_cache(cache) if cache else {}
        case "OpenVINOExecutionProvider":
            # The defaults use all cores for each run, and 16-bit arithmetic if available.
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
    """Returns the likely reason why an installed provider did not come up; the runtime prints more to stderr."""
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
    """Loads CUDA libraries that are installed as Python packages."""
    if name in (CUDA, TENSORRT) and find_spec("nvidia"):
        import onnxruntime

        onnxruntime.preload_dlls()
