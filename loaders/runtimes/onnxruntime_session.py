"""Opens an ONNX Runtime session for a file: options, external weights, and the cache of optimised graphs.

Load time in ms with the digest cached; private memory in MiB after a few runs:

| model | without the cache | with it |
|---|---|---|
| efficientnet-lite0, 9 MiB | 59; 30 | 22; 11 |
| picodet-s-416, 5 MiB | 43; 29 | 26; 19 |
| 11 convolutions, 90 MiB | 262; 94 | 6; 4 |
| 20 matrix products, 320 MiB | 635; 328 | 297; 328 |

Weights of convolutions are mapped as they are; those of matrix products are packed anew by each session.

ONNX Runtime's own format (.ort) loads large models more slowly than either, in twice the memory of their weights.
"""

import logging
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import numpy as np
import onnxruntime as ort

from loaders.file_digest import file_digest
from loaders.model_errors import ModelFileError, ProviderError
from loaders.onnx.onnx_file import OnnxGraph, check_external_files, read_onnx
from loaders.runtimes import providers
from loaders.runtimes.base import SessionOptions
from loaders.runtimes.graph_cache import GRAPH, PRIVATE_BYTES, WEIGHTS, CachedGraph, GraphCacheError
from loaders.runtimes.onnxruntime_errors import COPY_PREFIX, is_out_of_memory, reason
from loaders.tensors import Tensor, TensorInfo
from utils.memory import release_free_memory
from utils.processor import processor

# ONNX Runtime 1.31 folds a Pad with zeros into the MaxPool behind it, which then pads with -infinity (BiT).
_WRONG_OPTIMIZERS = ["Pad_Fusion"]
# How long a thread that waits for its part of a run spins before it sleeps. Waking one takes about as long. A thread
# that spins longer takes the core from other programs: 200 µs cost a quarter of the speed beside one busy process.
_SPIN_US = 25
_LOG_FATAL = 4  # errors are raised, and logged by their handlers
_FORMAT = "3"  # of entries in the cache; a new number makes all of them unknown
# Smaller models load quickly anyway. Writing an entry takes three times the model's size in memory, and loading a
# large model is mostly reading.
_MIN_CACHED_BYTES, _MAX_CACHED_BYTES = 1 << 20, 512 << 20
# Operators that copy constant weights into a layout of their own when a session is loaded.
_PACKING_OPS = {
    "Attention", "ConvTranspose", "DynamicQuantizeMatMul", "FusedGemm", "FusedMatMul", "Gemm", "GRU", "LSTM", "MatMul",
    "MatMulInteger", "MatMulIntegerToFloat", "MatMulNBits", "MultiHeadAttention", "QAttention", "QGemm", "QLinearConv",
    "QLinearMatMul",
}  # fmt: skip
_GRAPH_FAILED = "its optimised graph crashes or gives other answers on this machine: the original graph is served"

_log = logging.getLogger("fovea.models")
_warned: set[str] = set()


class Loaded(NamedTuple):
    """`private_bytes` of weights; the others are mapped from the cache. `notes` for the operator."""

    session: ort.InferenceSession
    private_bytes: int
    notes: tuple[str, ...] = ()


def load_session(path: Path, names: Sequence[str], options: SessionOptions) -> Loaded:
    """Opens a session on the providers `names` (ONNX Runtime's names); fewer may come up.

    Raises ModelFileError, ProviderError.
    """
    try:
        return _load(_Source(path), names, options)
    except Exception as error:
        accelerators = [name for name in names if name != providers.CPU]
        if type(error) is RuntimeError and accelerators:  # errors about a file are of other types
            others = [name for name in ort.get_available_providers() if name != accelerators[0]]
            raise ProviderError(accelerators[0], others) from error
        raise ModelFileError(reason(error, path)) from error
    finally:
        release_free_memory()  # loading and optimising take up to twice the weights


class _Source:
    """A graph's file and its external weights."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.graph = _describe(path)
        self.external = self.graph.external_files if self.graph else ()

    @property
    def files(self) -> list[Path]:
        return [self.path, *(self.path.parent / name for name in self.external)]

    @property
    def bytes(self) -> int:
        return sum(file.stat().st_size for file in self.files)

    @contextmanager
    def private_copy(self) -> Iterator[Path]:
        """Yields the graph to load: a copy where it has external weights, else the file itself.

        ONNX Runtime maps external weights, and overwriting a mapped file kills the process (SIGBUS). The copy is
        deleted after the load; its mapped parts live as long as the session.
        """
        if not self.external:
            yield self.path
            return
        with TemporaryDirectory(prefix=COPY_PREFIX) as folder:
            for name in (self.path.name, *self.external):
                target = Path(folder) / name
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(self.path.parent / name, target)
            yield Path(folder) / self.path.name


def _describe(path: Path) -> OnnxGraph | None:
    """Returns None for a file that is not a valid graph: ONNX Runtime's own error is more precise."""
    try:
        graph = read_onnx(path)
        check_external_files(path, graph)
    except ModelFileError:
        return None
    return graph


def _load(source: _Source, names: Sequence[str], options: SessionOptions) -> Loaded:
    cached = _cached_graph(source, names, options)
    if cached is None:
        return _load_original(source, names, options)
    if loaded := _load_cached(cached, options):
        return loaded
    feeds = _noise(source.graph.inputs if source.graph else (), options.shapes)
    if feeds is None:
        return _load_original(source, names, options)
    with cached.locked():
        if loaded := _load_cached(cached, options):  # another process has written it
            return loaded
        if cached.failed:
            return _load_original(source, names, options, _GRAPH_FAILED)
        return _load_and_cache(cached, source, options, feeds)


def _load_original(source: _Source, names: Sequence[str], options: SessionOptions, *notes: str) -> Loaded:
    for name in names:
        providers.find_libraries(name)
    with source.private_copy() as path:
        return Loaded(_open(path, names, options, _settings(options)), source.bytes, notes)


def _cached_graph(source: _Source, names: Sequence[str], options: SessionOptions) -> CachedGraph | None:
    """Returns None for models that are not cached: too small, too large, or on other providers than the CPU.

    Optimised graphs depend on the kind of processor, so nothing is cached on systems that do not name it.
    """
    own = processor()
    if options.cache is None or own is None or source.graph is None or list(names) != [providers.CPU]:
        return None
    if not _MIN_CACHED_BYTES <= source.bytes <= _MAX_CACHED_BYTES:
        return None
    key = (_FORMAT, ort.__version__, ort.get_build_info(), own, *map(file_digest, source.files), *source.external)
    return CachedGraph(options.cache, key)


def _load_cached(cached: CachedGraph, options: SessionOptions) -> Loaded | None:
    """Returns None for an entry that is missing or does not load."""
    graph = cached.find()
    if graph is None:
        return None
    try:
        return Loaded(_open_optimised(graph, options), cached.private_bytes)
    except Exception as error:  # noqa: BLE001 - whatever is wrong with the entry, the original still loads
        _log.debug("cached graph does not load: %s", error)
        return None


def _load_and_cache(
    cached: CachedGraph, source: _Source, options: SessionOptions, feeds: Mapping[str, Tensor]
) -> Loaded:
    """Loads the original, and replaces it by the optimised graph if that one answers the noise `feeds` equally."""
    try:
        with cached.new(source.bytes) as folder:
            with source.private_copy() as path:
                original = _open(path, [providers.CPU], options, _saving_to(folder, options))
            private_bytes = _packed_bytes(folder / GRAPH)
            (folder / PRIVATE_BYTES).write_text(str(private_bytes))
            with cached.trial():
                optimised = _open_optimised(folder / GRAPH, options)
                _check_equal(original, optimised, feeds)
            return Loaded(optimised, private_bytes)
    except Exception as error:  # noqa: BLE001 - the original may load where it cannot be saved
        if is_out_of_memory(error):
            cached.forget_trial()
        elif cached.failed:
            _log.debug("optimised graph is not kept: %s", error)
            return _load_original(source, [providers.CPU], options, _GRAPH_FAILED)
        _warn_once(error)
        return _load_original(source, [providers.CPU], options)


def _saving_to(folder: Path, options: SessionOptions) -> ort.SessionOptions:
    """Saves large weights in a separate file that can be mapped.

    They are not saved as kernels pack them (`save_external_prepacked_constant_initializers`): ONNX Runtime 1.31 writes
    graphs that crash in a run (MaskFormer, SwinV2).
    """
    settings = _settings(options)
    settings.optimized_model_filepath = str(folder / GRAPH)
    settings.add_session_config_entry("session.optimized_model_external_initializers_file_name", WEIGHTS)
    settings.add_session_config_entry("session.optimized_model_external_initializers_min_size_in_bytes", "1024")
    return settings


def _packed_bytes(graph: Path) -> int:
    """Returns the bytes of weights that each session copies into a layout of its own."""
    return sum(size for op, size in read_onnx(graph).weight_bytes.items() if op in _PACKING_OPS)


def _check_equal(one: ort.InferenceSession, other: ort.InferenceSession, feeds: Mapping[str, Tensor]) -> None:
    """Compares the outputs bit by bit. Raises ValueError, and what the runtime raises if it cannot run on noise."""
    outputs = [session.run(None, feeds) for session in (one, other)]
    if not all(np.asarray(a).tobytes() == np.asarray(b).tobytes() for a, b in zip(*outputs, strict=True)):
        raise ValueError("its outputs differ from those of the original")


def _noise(inputs: Sequence[TensorInfo], shapes: Mapping[str, Sequence[int]]) -> dict[str, Tensor] | None:
    """Returns noise for every input; None if an open side has no known size. An open batch is 1."""
    noise = np.random.default_rng(0)
    feeds: dict[str, Tensor] = {}
    for tensor in inputs:
        known = shapes.get(tensor.name, (1,))
        shape = [side or (known[i] if i < len(known) else 0) for i, side in enumerate(tensor.shape)]
        if 0 in shape or not hasattr(np, tensor.dtype):
            return None
        feeds[tensor.name] = (noise.random(shape) * 2).astype(tensor.dtype)
    return feeds


def _warn_once(error: Exception) -> None:
    problem = str(error) if isinstance(error, GraphCacheError) else "the runtime could not write one"
    if problem not in _warned:
        _warned.add(problem)
        _log.warning('optimised graphs are not cached, every load optimises again: reason="%s"', problem)


def _open(
    path: Path, names: Sequence[str], options: SessionOptions, settings: ort.SessionOptions
) -> ort.InferenceSession:
    """Without the runtime's own fallback, which prints."""
    chosen = providers.set_up(names, options.threads, options.cache)
    return ort.InferenceSession(
        str(path),
        sess_options=settings,
        providers=chosen,
        enable_fallback=False,
        disabled_optimizers=_WRONG_OPTIMIZERS,
    )


def _open_optimised(graph: Path, options: SessionOptions) -> ort.InferenceSession:
    settings = _settings(options)
    settings.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    return _open(graph, [providers.CPU], options, settings)


def _settings(options: SessionOptions) -> ort.SessionOptions:
    """Explicit threads (the default is the host's core count, whatever the quota) that spin for _SPIN_US at most.

    Memory patterns are off: each new input size would add a plan beside the first run's memory (194 of 468 MiB for
    u2netp). No model runs slower without them.
    """
    settings = ort.SessionOptions()
    settings.intra_op_num_threads = options.threads
    settings.inter_op_num_threads = 1
    settings.log_severity_level = _LOG_FATAL
    settings.enable_mem_pattern = False
    settings.add_session_config_entry("session.intra_op.spin_duration_us", str(_SPIN_US))
    settings.add_session_config_entry("session.inter_op.allow_spinning", "0")
    return settings
