"""ONNX Runtime behind the `ModelLoader` interface."""

import re
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import onnxruntime as ort

from loaders.model_errors import ModelFileError, ModelRunError, ProviderError
from loaders.model_loader import ModelLoader, Session, SessionOptions, Tensor, TensorInfo
from loaders.onnx_file import check_external_files, read_onnx

PROVIDERS = {
    "cpu": "CPUExecutionProvider",
    "cuda": "CUDAExecutionProvider",
    "tensorrt": "TensorrtExecutionProvider",
    "openvino": "OpenVINOExecutionProvider",
    "coreml": "CoreMLExecutionProvider",
    "directml": "DmlExecutionProvider",
}
_CPU = PROVIDERS["cpu"]

_DTYPES = {"tensor(float)": "float32", "tensor(float16)": "float16", "tensor(double)": "float64"}
_LOG_FATAL = 4  # errors are raised and told once, by us

_COPY_PREFIX = "fovea-"
_OWN_COPY = re.compile(rf"\S*/{_COPY_PREFIX}\w+/")

_IN_PLAIN_WORDS: tuple[tuple[re.Pattern[str], str], ...] = (
    (re.compile(r"Opset (\d+) is under development"), "it uses opset {0}, which this runtime does not know yet"),
    (re.compile(r"No Op registered for (\S+)"), "it needs the operator {0}, which this runtime does not have"),
    (
        re.compile(r"(\S+) is not a registered function/op"),
        "it needs the operator {0}, which this runtime does not have",
    ),
    (re.compile(r"buffer of size (\d+)"), "it needs more memory than there is: {0} bytes at once"),
    (re.compile(r"External initializer: (\S+)"), "its external data are shorter than the graph says, at {0}"),
)

# As in "/onnxruntime_src/onnxruntime/core/framework/bfc_arena.cc:359 void* onnxruntime::BFCArena::... ".
_SOURCE_PLACE = re.compile(r"\S*/onnxruntime\S*\.(?:cc|h|cpp):\d+ (?:\S.*?\) )?")


class OnnxRuntimeLoader(ModelLoader):
    @property
    def version(self) -> str:
        return f"onnxruntime {ort.__version__}"

    def load(self, path: Path, options: SessionOptions) -> Session:
        providers = [PROVIDERS.get(name, name) for name in options.providers]
        _check_available(providers)
        try:
            with _own_files(path) as own:
                session = ort.InferenceSession(
                    str(own), sess_options=_session_options(options), providers=_with_cpu(providers)
                )
        except Exception as error:
            raise ModelFileError(_reason(error, path)) from error
        _check_came_up(providers, session.get_providers())
        return OnnxRuntimeSession(session)


@contextmanager
def _own_files(path: Path) -> Iterator[Path]:
    """The graph to load: a copy of our own where weights lie beside it.

    The runtime maps such files, and a mapped file that somebody writes over kills the process (SIGBUS). The copy is
    deleted at once; what is mapped of it lives as long as the session.
    """
    external = _external_files(path)
    if not external:
        yield path
        return
    with TemporaryDirectory(prefix=_COPY_PREFIX) as folder:
        for name in (path.name, *external):
            target = Path(folder) / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path.parent / name, target)
        yield Path(folder) / path.name


def _external_files(path: Path) -> tuple[str, ...]:
    """Empty for a file that is no graph: the runtime will say so."""
    try:
        graph = read_onnx(path)
        check_external_files(path, graph)
    except ModelFileError:
        return ()
    return graph.external_files


class OnnxRuntimeSession(Session):
    def __init__(self, session: ort.InferenceSession) -> None:
        self._session = session
        self.inputs = tuple(_tensor_info(node) for node in session.get_inputs())
        self.outputs = tuple(_tensor_info(node) for node in session.get_outputs())
        self.providers = tuple(session.get_providers())
        self._output_names = [output.name for output in self.outputs]

    def run(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        try:
            outputs = self._session.run(self._output_names, dict(inputs))
        except Exception as error:
            raise ModelRunError(f"the runtime failed while it ran: {_first_line(error)}") from error
        return dict(zip(self._output_names, outputs, strict=True))


def _session_options(options: SessionOptions) -> ort.SessionOptions:
    """Explicit threads (the runtime's default is the host's cores, whatever the quota) that sleep instead of spin."""
    session_options = ort.SessionOptions()
    session_options.intra_op_num_threads = options.threads
    session_options.inter_op_num_threads = 1
    session_options.log_severity_level = _LOG_FATAL
    session_options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    session_options.add_session_config_entry("session.inter_op.allow_spinning", "0")
    return session_options


def _with_cpu(providers: list[str]) -> list[str]:
    """An accelerator leaves the operators it does not know to the CPU."""
    return providers if _CPU in providers else [*providers, _CPU]


def _check_available(providers: list[str]) -> None:
    available = ort.get_available_providers()
    for provider in providers:
        if provider not in available:
            raise ProviderError(provider, available)


def _check_came_up(asked: list[str], running: list[str]) -> None:
    """The runtime falls back to the CPU with a log line only; here that is an error."""
    for provider in asked:
        if provider not in running:
            raise ProviderError(provider, running)


def _tensor_info(node: ort.NodeArg) -> TensorInfo:
    dtype = _DTYPES.get(node.type, node.type.removeprefix("tensor(").removesuffix(")"))
    shape = tuple(dim if isinstance(dim, int) and dim >= 0 else None for dim in node.shape)
    return TensorInfo(node.name, dtype, shape)


def _reason(error: Exception, path: Path) -> str:
    """Without the folder the file lies in."""
    text = _OWN_COPY.sub("", _first_line(error)).replace(str(path), path.name)
    for folder in (path.parent, path.resolve().parent):
        text = text.replace(str(folder), "")
    return f"{path.name} cannot be loaded: {text}"


def _first_line(error: Exception) -> str:
    """The runtime's own words without its status prefix and its source files."""
    if isinstance(error, MemoryError) or "bad_alloc" in str(error):
        return "not enough memory"
    for pattern, words in _IN_PLAIN_WORDS:
        if match := pattern.search(str(error)):
            return words.format(*match.groups())
    line = str(error).splitlines()[0] if str(error) else type(error).__name__
    text = line.split(" : ", 3)[-1]
    return _SOURCE_PLACE.sub("", text).strip()
