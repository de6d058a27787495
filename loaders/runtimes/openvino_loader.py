"""The model loader of OpenVINO, which runs on the cores of x86-64 and arm64 processors.

A session is one compiled model with a stream for each run at once. Streams share the weights; each has its own threads
and memory. Compiled models are cached in `<cache>/openvino`, by the model's files, the runtime and the processor.
"""

import hashlib
import logging
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import openvino as ov
import orjson

from loaders.file_digest import file_digest
from loaders.model_errors import ModelFileError, ModelRunError, ProviderError, RunMemoryError, RunStoppedError
from loaders.onnx.onnx_file import OnnxGraph, check_external_files, read_onnx
from loaders.runtimes.base import AUTO, ModelLoader, Precision, RunStop, Session, SessionOptions
from loaders.runtimes.fixed_batch import single_pictures
from loaders.runtimes.graph_cache import prune
from loaders.runtimes.onnxruntime_errors import is_out_of_memory
from loaders.tensors import Tensor, TensorInfo
from utils.cpu_budget import cpu_budget
from utils.memory import release_free_memory
from utils.processor import processor

_CPU = "CPU"
_PROVIDERS = {AUTO, "cpu", "CPUExecutionProvider"}
_HINTS = {Precision.EXACT: "f32", Precision.BF16: "bf16", Precision.INT8: "f32"}

_log = logging.getLogger("fovea.models")


class OpenVinoLoader(ModelLoader):
    def __init__(self) -> None:
        self._core = ov.Core()

    @property
    def version(self) -> str:
        return f"openvino {ov.__version__.partition('-')[0]}"

    def on_cores_alone(self, names: Sequence[str]) -> bool:
        return _PROVIDERS.issuperset(names)

    def load(self, path: Path, options: SessionOptions) -> Session:
        for name in options.providers:
            if name not in _PROVIDERS:
                raise ProviderError(name, [_CPU])
        graph = read_onnx(path)
        check_external_files(path, graph)
        files = [path, *(path.parent / name for name in graph.external_files)]
        has = self._core.get_property(_CPU, "OPTIMIZATION_CAPABILITIES")
        if options.precision is Precision.BF16 and "BF16" not in has:
            raise ModelFileError("this processor has no bfloat16 arithmetic")
        try:
            # Overwriting a mapped file of weights kills the process (SIGBUS).
            model = self._core.read_model(path, config={"ENABLE_MMAP": False})
            compiled = self._compile(model, _settings(options), _cache_entry(files, options))
            session = OpenVinoSession(compiled, graph, sum(file.stat().st_size for file in files))
        except Exception as error:
            raise ModelFileError(f"{path.name} cannot be loaded: {_reason(error, path)}") from error
        finally:
            release_free_memory()
        return single_pictures(session)

    def _compile(self, model: ov.Model, settings: dict[str, object], cache: Path | None) -> ov.CompiledModel:
        if cache:
            try:
                return self._core.compile_model(model, _CPU, {**settings, "CACHE_DIR": str(cache)})
            except RuntimeError as error:  # such as a full disk
                _log.debug("compiled model is not cached: %s", error)
        return self._core.compile_model(model, _CPU, settings)


def _settings(options: SessionOptions) -> dict[str, object]:
    """The default precision is the processor's fastest, and the default threads are the host's cores."""
    streams = max(1, cpu_budget() // options.threads)
    return {
        "INFERENCE_PRECISION_HINT": _HINTS[options.precision],
        "NUM_STREAMS": streams,
        "INFERENCE_NUM_THREADS": streams * options.threads,
        "ENABLE_CPU_PINNING": False,
    }


def _cache_entry(files: Sequence[Path], options: SessionOptions) -> Path | None:
    """The folder of this model's compiled forms. None without a writable cache folder."""
    kind = processor()
    if options.cache is None or kind is None:
        return None
    key = orjson.dumps((ov.__version__, kind, *map(file_digest, files)))
    entry = options.cache / "openvino" / hashlib.sha256(key).hexdigest()
    try:
        entry.mkdir(parents=True, exist_ok=True)
        os.utime(entry)
        prune(entry.parent, entry)
    except OSError:
        return None
    return entry


class OpenVinoSession(Session):
    """`file_bytes`: the size of the graph and its weights.

    The runtime caches up to 5,000 operators by their shapes; no public setting limits that.
    """

    has_room_for_all_runs = True
    grows_with_shapes = True

    def __init__(self, compiled: ov.CompiledModel, graph: OnnxGraph, file_bytes: int) -> None:
        self._compiled = compiled
        self.inputs = tuple(_tensor_info(port, graph.inputs) for port in compiled.inputs)
        self.outputs = tuple(_tensor_info(port, graph.outputs) for port in compiled.outputs)
        self.providers = (_CPU,)
        self.private_bytes = file_bytes
        self._free: list[ov.InferRequest] = []

    @property
    def on_cpu(self) -> bool:
        return True

    def run(self, inputs: Mapping[str, Tensor], stop: RunStop | None = None) -> dict[str, Tensor]:
        stop = stop or RunStop()
        try:
            request = self._free.pop()
        except IndexError:
            request = self._compiled.create_infer_request()
        try:
            tensors = [_tensor(inputs[info.name]) for info in self.inputs]  # the request does not keep their memory
            for i, tensor in enumerate(tensors):
                request.set_input_tensor(i, tensor)
            _run(request, stop)
            outputs = {info.name: request.get_output_tensor(i).data.copy() for i, info in enumerate(self.outputs)}
        except Exception as error:
            if stop.stopped:
                raise RunStoppedError from error
            kind = RunMemoryError if is_out_of_memory(error) else ModelRunError
            raise kind(f"the run failed: {_last_line(error)}") from error
        if not stop.stopped:  # else `stop` may still cancel this request, and that must not be the run of another
            self._free.append(request)
        return outputs


def _run(request: ov.InferRequest, stop: RunStop) -> None:
    """Asynchronous, since only such runs can be cancelled, and only once they have started."""
    with stop.calls(request.cancel):
        request.start_async()
        if stop.stopped:
            request.cancel()
        request.wait()


def _tensor(array: Tensor) -> ov.Tensor:
    """Shares the array's memory, which the runtime wants to be contiguous and writable."""
    return ov.Tensor(np.require(array, requirements=["C", "W"]), shared_memory=True)


def _tensor_info(port: ov.ConstOutput, declared: Sequence[TensorInfo]) -> TensorInfo:
    """With the graph's name, where the runtime has joined several tensors into one."""
    names = [info.name for info in declared if info.name in port.names]
    shape = tuple(None if side.is_dynamic else side.get_length() for side in port.partial_shape)
    return TensorInfo(names[0], port.element_type.to_dtype().name, shape)


def _reason(error: Exception, path: Path) -> str:
    """Without the path's folder."""
    text = _last_line(error)
    for folder in (path.parent, path.resolve().parent):
        text = text.replace(f"{folder}/", "")
    return text


def _last_line(error: Exception) -> str:
    """The runtime's messages begin with the places in its source code, and end with the reason."""
    if is_out_of_memory(error):
        return "not enough memory"
    lines = [line.removeprefix("-- ") for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__
