"""Opens an ONNX Runtime session for a file: options, external weights, and the cache of optimised graphs.

Load time in ms with the digest cached; private memory in MiB after a few runs:

| model | without the cache | with it |
|---|---|---|
| efficientnet-lite0, 9 MiB | 59; 30 | 22; 11 |
| picodet-s-416, 5 MiB | 43; 29 | 26; 19 |
| 11 convolutions, 90 MiB | 262; 94 | 6; 4 |
| 20 matrix products, 320 MiB | 635; 328 | 158; 8 |

Without the prepacked weights of `_save_to`, matrix products take 297 ms and 328 MiB: each session packs its own copy.

ONNX Runtime's own format (.ort) loads large models more slowly than either, in twice the memory of their weights.
"""

import logging
import shutil
from collections.abc import Iterator, Sequence
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
from loaders.runtimes.graph_cache import GRAPH, WEIGHTS, GraphCache, GraphCacheError
from loaders.runtimes.onnxruntime_errors import COPY_PREFIX, reason
from loaders.tensors import Tensor
from utils.memory import release_free_memory
from utils.processor import processor

_LOG_FATAL = 4  # errors are raised, and logged by their handlers
_FORMAT = "1"  # of entries in the cache; a new number makes all of them unknown
# Smaller models load quickly anyway. Writing an entry takes three times the model's size in memory, and loading a
# large model is mostly reading.
_MIN_CACHED_BYTES, _MAX_CACHED_BYTES = 1 << 20, 512 << 20
_OPEN_SIDE = 64  # pixels; for sides that the graph leaves open

_log = logging.getLogger("fovea.models")
_warned: set[str] = set()


class Loaded(NamedTuple):
    """`shares_weights`: the session maps them from the cache."""

    session: ort.InferenceSession
    shares_weights: bool = False


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
    key = _key(source, names, options)
    if options.cache is None or key is None:
        return Loaded(_load_original(source, names, options))
    cache = GraphCache(options.cache)
    cached = _load_cached(cache, key, options)
    return Loaded(cached, shares_weights=True) if cached else _load_and_cache(cache, key, source, options)


def _load_original(source: _Source, names: Sequence[str], options: SessionOptions) -> ort.InferenceSession:
    for name in names:
        providers.find_libraries(name)
    with source.private_copy() as path:
        return _open(path, names, options, _settings(options))


def _key(source: _Source, names: Sequence[str], options: SessionOptions) -> tuple[str, ...] | None:
    """Returns None for models that are not cached: too small, too large, or on other providers than the CPU.

    Optimised graphs depend on the kind of processor, so nothing is cached on systems that do not name it.
    """
    own = processor()
    if options.cache is None or own is None or source.graph is None or list(names) != [providers.CPU]:
        return None
    if not _MIN_CACHED_BYTES <= source.bytes <= _MAX_CACHED_BYTES:
        return None
    return (_FORMAT, ort.__version__, ort.get_build_info(), own, *map(file_digest, source.files), *source.external)


def _load_cached(
    cache: GraphCache, key: tuple[str, ...], options: SessionOptions, original: ort.InferenceSession | None = None
) -> ort.InferenceSession | None:
    """Discards an entry that does not load, or whose outputs differ from those of `original`.

    An entry that another process has removed or replaced meanwhile counts as missing.
    """
    entry = cache.find(*key)
    if entry is None:
        return None
    settings = _settings(options)
    settings.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    try:
        cached = _open(entry.graph, [providers.CPU], options, settings)
        if original is None or _outputs_equal(original, cached):
            return cached
    except Exception as error:  # noqa: BLE001 - whatever is wrong with the entry, the original still loads
        _log.debug("cached graph does not load or run: %s", error)
    cache.discard(entry)
    return None


def _load_and_cache(cache: GraphCache, key: tuple[str, ...], source: _Source, options: SessionOptions) -> Loaded:
    """Loads the original, and replaces it by the new cache entry if both give equal outputs."""
    try:
        with cache.new(source.bytes, *key) as folder, source.private_copy() as path:
            settings = _settings(options)
            _save_to(folder, settings)
            session = _open(path, [providers.CPU], options, settings)
    except Exception as error:  # noqa: BLE001 - the original may load where it cannot be saved
        _warn_once(error)
        return Loaded(_load_original(source, [providers.CPU], options))
    cached = _load_cached(cache, key, options, original=session)
    return Loaded(cached, shares_weights=True) if cached else Loaded(session)


def _save_to(folder: Path, settings: ort.SessionOptions) -> None:
    """Saves large weights in a separate file that can be mapped, in the processor's own layout."""
    settings.optimized_model_filepath = str(folder / GRAPH)
    for key, value in (
        ("session.optimized_model_external_initializers_file_name", WEIGHTS),
        ("session.optimized_model_external_initializers_min_size_in_bytes", "1024"),
        ("session.save_external_prepacked_constant_initializers", "1"),
    ):
        settings.add_session_config_entry(key, value)


def _outputs_equal(one: ort.InferenceSession, other: ort.InferenceSession) -> bool:
    """Compares the outputs for noise, bit by bit. Raises what the runtime raises if it cannot run on noise."""
    noise = np.random.default_rng(0)
    feeds = {node.name: _noise(node, noise) for node in one.get_inputs()}
    outputs = [session.run(None, feeds) for session in (one, other)]
    return all(np.asarray(a).tobytes() == np.asarray(b).tobytes() for a, b in zip(*outputs, strict=True))


def _noise(node: ort.NodeArg, noise: np.random.Generator) -> Tensor:
    open_sizes = (1, 3, _OPEN_SIDE, _OPEN_SIDE)
    shape = [dim if isinstance(dim, int) and dim > 0 else open_sizes[min(i, 3)] for i, dim in enumerate(node.shape)]
    dtype = {"float": "float32", "double": "float64"}.get(name := node.type[len("tensor(") : -1], name)
    return (noise.random(shape) * 2).astype(dtype)


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
    return ort.InferenceSession(str(path), sess_options=settings, providers=chosen, enable_fallback=False)


def _settings(options: SessionOptions) -> ort.SessionOptions:
    """Explicit threads (the default is the host's core count, whatever the quota) that sleep instead of spinning.

    Memory patterns are off: each new input size would add a plan beside the first run's memory (194 of 468 MiB for
    u2netp). No model runs slower without them.
    """
    settings = ort.SessionOptions()
    settings.intra_op_num_threads = options.threads
    settings.inter_op_num_threads = 1
    settings.log_severity_level = _LOG_FATAL
    settings.enable_mem_pattern = False
    settings.add_session_config_entry("session.intra_op.allow_spinning", "0")
    settings.add_session_config_entry("session.inter_op.allow_spinning", "0")
    return settings
