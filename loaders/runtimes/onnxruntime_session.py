"""A file -> ONNX Runtime's own session: how it is set up, and what is kept for the next load.

Measured (ms to load where the digest is known; MiB of memory after a few runs that no other process and no other
session shares):

| model | plainly | from the cache |
|---|---|---|
| efficientnet-lite0, 9 MiB | 59; 29 | 11; 11 |
| picodet-s-416, 5 MiB | 26; 25 | 15; 19 |
| u2netp, 4 MiB | 49; 284 | 30; 282 (the runs' own) |
| as ResNet-50, 98 MiB | 165; 107 | 14; 10 |
| as ViT-B, 330 MiB | 369; 349 | 100; 17 |

ONNX Runtime's own format (.ort) takes longer to load than either where weights are many, and twice their memory.
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

_LOG_FATAL = 4  # errors are raised and told once, by us
_FORMAT = "1"  # of what is kept: a change makes what was kept before unknown
# What is smaller loads in no time. To write what is larger takes three times its size in memory, and its loading is
# mostly reading.
_LEAST_KEPT_BYTES, _MOST_KEPT_BYTES = 1 << 20, 512 << 20
_OPEN_SIDE = 64  # pixels, where a graph leaves it open

_log = logging.getLogger("fovea.models")
_told: set[str] = set()


class Loaded(NamedTuple):
    """`shares_weights`: they are mapped from what was kept."""

    session: ort.InferenceSession
    shares_weights: bool = False


def load_session(path: Path, names: Sequence[str], options: SessionOptions) -> Loaded:
    """On those providers, by the runtime's own names; it may come up on fewer. Raises ModelFileError, ProviderError."""
    try:
        return _load(_Source(path), names, options)
    except Exception as error:
        accelerators = [name for name in names if name != providers.CPU]
        if type(error) is RuntimeError and accelerators:  # its errors about a file are of other types
            others = [name for name in ort.get_available_providers() if name != accelerators[0]]
            raise ProviderError(accelerators[0], others) from error
        raise ModelFileError(reason(error, path)) from error
    finally:
        release_free_memory()  # what was read and what was optimised: up to twice the weights


class _Source:
    """A graph's file, the weights beside it, and what it says of itself."""

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
    def own_files(self) -> Iterator[Path]:
        """The graph to load: a copy of our own where weights lie beside it.

        The runtime maps such files, and a mapped file that somebody writes over kills the process (SIGBUS). The copy is
        deleted at once; what is mapped of it lives as long as the session.
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
    """None for a file that is no graph: the runtime will say so."""
    try:
        graph = read_onnx(path)
        check_external_files(path, graph)
    except ModelFileError:
        return None
    return graph


def _load(source: _Source, names: Sequence[str], options: SessionOptions) -> Loaded:
    key = _key(source, names, options)
    if options.cache is None or key is None:
        return Loaded(_load_plainly(source, names, options))
    cache = GraphCache(options.cache)
    kept = _load_kept(cache, key, options)
    return Loaded(kept, shares_weights=True) if kept else _load_and_keep(cache, key, source, options)


def _load_plainly(source: _Source, names: Sequence[str], options: SessionOptions) -> ort.InferenceSession:
    for name in names:
        providers.find_libraries(name)
    with source.own_files() as path:
        return _open(path, names, options, _settings(options))


def _key(source: _Source, names: Sequence[str], options: SessionOptions) -> tuple[str, ...] | None:
    """None for what is not kept: what is too small or too large, and what other providers compile.

    The optimised graph is for one kind of processor, so it is kept where the system tells which that is.
    """
    own = processor()
    if options.cache is None or own is None or source.graph is None or list(names) != [providers.CPU]:
        return None
    if not _LEAST_KEPT_BYTES <= source.bytes <= _MOST_KEPT_BYTES:
        return None
    return (_FORMAT, ort.__version__, ort.get_build_info(), own, *map(file_digest, source.files), *source.external)


def _load_kept(cache: GraphCache, key: tuple[str, ...], options: SessionOptions) -> ort.InferenceSession | None:
    path = cache.find(*key)
    if path is None:
        return None
    settings = _settings(options)
    settings.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    try:
        return _open(path, [providers.CPU], options, settings)
    except Exception:  # noqa: BLE001 - whatever is wrong with it, the graph itself is still there
        return None


def _load_and_keep(cache: GraphCache, key: tuple[str, ...], source: _Source, options: SessionOptions) -> Loaded:
    """What was kept is loaded at once and takes the place of what it was made from, if both answer alike."""
    try:
        with cache.new(source.bytes, *key) as folder, source.own_files() as path:
            settings = _settings(options)
            _save_to(folder, settings)
            session = _open(path, [providers.CPU], options, settings)
    except Exception as error:  # noqa: BLE001 - it may load where it cannot be saved
        _tell_once(error)
        return Loaded(_load_plainly(source, [providers.CPU], options))
    kept = _load_kept(cache, key, options)
    if kept and _answer_alike(session, kept):
        return Loaded(kept, shares_weights=True)
    cache.discard(*key)
    return Loaded(session)


def _save_to(folder: Path, settings: ort.SessionOptions) -> None:
    """Weights in a file that is mapped, in the order the processor likes; what is short stays in the graph."""
    settings.optimized_model_filepath = str(folder / GRAPH)
    for key, value in (
        ("session.optimized_model_external_initializers_file_name", WEIGHTS),
        ("session.optimized_model_external_initializers_min_size_in_bytes", "1024"),
        ("session.save_external_prepacked_constant_initializers", "1"),
    ):
        settings.add_session_config_entry(key, value)


def _answer_alike(one: ort.InferenceSession, other: ort.InferenceSession) -> bool:
    """To the last bit, on noise. False where it cannot be tried."""
    noise = np.random.default_rng(0)
    try:
        feeds = {node.name: _noise(node, noise) for node in one.get_inputs()}
        answers = [session.run(None, feeds) for session in (one, other)]
    except Exception:  # noqa: BLE001 - a graph that wants other sizes or other types
        return False
    return all(np.asarray(a).tobytes() == np.asarray(b).tobytes() for a, b in zip(*answers, strict=True))


def _noise(node: ort.NodeArg, noise: np.random.Generator) -> Tensor:
    open_sizes = (1, 3, _OPEN_SIDE, _OPEN_SIDE)
    shape = [dim if isinstance(dim, int) and dim > 0 else open_sizes[min(i, 3)] for i, dim in enumerate(node.shape)]
    dtype = {"float": "float32", "double": "float64"}.get(name := node.type[len("tensor(") : -1], name)
    return (noise.random(shape) * 2).astype(dtype)


def _tell_once(error: Exception) -> None:
    problem = str(error) if isinstance(error, GraphCacheError) else "the runtime could not write one"
    if problem not in _told:
        _told.add(problem)
        _log.warning("optimised graphs are not kept, each load optimises anew: %s", problem)


def _open(
    path: Path, names: Sequence[str], options: SessionOptions, settings: ort.SessionOptions
) -> ort.InferenceSession:
    """Without the runtime's own fall-back, which prints."""
    chosen = providers.set_up(names, options.threads, options.cache)
    return ort.InferenceSession(str(path), sess_options=settings, providers=chosen, enable_fallback=False)


def _settings(options: SessionOptions) -> ort.SessionOptions:
    """Explicit threads (the runtime's default is the host's cores, whatever the quota) that sleep instead of spin.

    No plan of the memory for each size of input: the runtime keeps the first run's memory beside what it then plans,
    and plans anew for every other size. Without, u2netp holds 274 MiB instead of 468, and no model runs slower.
    """
    settings = ort.SessionOptions()
    settings.intra_op_num_threads = options.threads
    settings.inter_op_num_threads = 1
    settings.log_severity_level = _LOG_FATAL
    settings.enable_mem_pattern = False
    settings.add_session_config_entry("session.intra_op.allow_spinning", "0")
    settings.add_session_config_entry("session.inter_op.allow_spinning", "0")
    return settings
