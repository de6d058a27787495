"""The model loader of ONNX Runtime."""

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

import onnxruntime as ort

from loaders.model_errors import ModelFileError, ModelRunError, ProviderError, RunMemoryError, RunStoppedError
from loaders.runtimes import providers
from loaders.runtimes.base import AUTO, ModelLoader, RunStop, Session, SessionOptions
from loaders.runtimes.fixed_batch import single_pictures
from loaders.runtimes.onnxruntime_errors import first_line, is_out_of_memory
from loaders.runtimes.onnxruntime_session import Loaded, load_session
from loaders.tensors import Tensor, TensorInfo

_DTYPES = {"tensor(float)": "float32", "tensor(float16)": "float16", "tensor(double)": "float64"}


class OnnxRuntimeLoader(ModelLoader):
    def __init__(self) -> None:
        self._did_not_come_up: dict[str, str] = {}

    @property
    def version(self) -> str:
        return f"onnxruntime {ort.__version__}"

    def on_cores_alone(self, names: Sequence[str]) -> bool:
        return providers.on_cores_alone(names, ort.get_available_providers())

    def load(self, path: Path, options: SessionOptions) -> Session:
        if options.providers == (AUTO,):
            return self._load_best(path, options)
        names = [providers.full_name(name) for name in options.providers]
        _check_available(names)
        loaded = load_session(path, names, options)
        _check_came_up(names, loaded.session.get_providers())
        return single_pictures(OnnxRuntimeSession(loaded))

    def _load_best(self, path: Path, options: SessionOptions) -> Session:
        available = ort.get_available_providers()
        notes = providers.not_tried(available)
        for name in (name for name in providers.BEST_FIRST if name in available):
            loaded = self._try(name, path, options, notes)
            if loaded:
                break
        else:
            loaded = load_session(path, [providers.CPU], options)
        return single_pictures(OnnxRuntimeSession(loaded, tuple(notes)))

    def _try(self, name: str, path: Path, options: SessionOptions, notes: list[str]) -> Loaded | None:
        """Adds the reason to `notes` if it returns None. A missing provider is not tried again for other models."""
        if name not in self._did_not_come_up:
            try:
                loaded = load_session(path, [name], options)
            except ModelFileError as error:
                notes.append(f"{name} rejected the model: {error}")
                return None
            if loaded.session.get_providers()[0] == name:
                return loaded
            self._did_not_come_up[name] = providers.why_not(name)
        notes.append(self._did_not_come_up[name])
        return None


class OnnxRuntimeSession(Session):
    def __init__(self, loaded: Loaded, notes: tuple[str, ...] = ()) -> None:
        self._session = session = loaded.session
        self.inputs = tuple(_tensor_info(node) for node in session.get_inputs())
        self.outputs = tuple(_tensor_info(node) for node in session.get_outputs())
        self.providers = tuple(session.get_providers())
        self.notes = (*loaded.notes, *notes)
        self.private_bytes = loaded.private_bytes
        self._output_names = [output.name for output in self.outputs]

    @property
    def on_cpu(self) -> bool:
        return providers.runs_on_cores(self.providers)

    def run(self, inputs: Mapping[str, Tensor], stop: RunStop | None = None) -> dict[str, Tensor]:
        if stop is None:
            return self._run(inputs, None)
        options = ort.RunOptions()
        with stop.calls(partial(setattr, options, "terminate", True)):
            try:
                return self._run(inputs, options)
            except ModelRunError as error:
                if stop.stopped:
                    raise RunStoppedError from error
                raise

    def _run(self, inputs: Mapping[str, Tensor], options: ort.RunOptions | None) -> dict[str, Tensor]:
        try:
            outputs = self._session.run(self._output_names, dict(inputs), options)
        except Exception as error:
            kind = RunMemoryError if is_out_of_memory(error) else ModelRunError
            raise kind(f"the run failed: {first_line(error)}") from error
        return dict(zip(self._output_names, outputs, strict=True))


def _check_available(providers: list[str]) -> None:
    available = ort.get_available_providers()
    for provider in providers:
        if provider not in available:
            raise ProviderError(provider, available)


def _check_came_up(names: list[str], running: list[str]) -> None:
    """Raises ProviderError where the runtime itself would silently fall back to the CPU."""
    for provider in names:
        if provider not in running:
            raise ProviderError(provider, running)


def _tensor_info(node: ort.NodeArg) -> TensorInfo:
    dtype = _DTYPES.get(node.type, node.type.removeprefix("tensor(").removesuffix(")"))
    shape = tuple(dim if isinstance(dim, int) and dim >= 0 else None for dim in node.shape)
    return TensorInfo(node.name, dtype, shape)
