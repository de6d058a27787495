"""One model, ready to run: its spec made complete by its graph, its session, its preprocessing and its task."""

from dataclasses import dataclass
from typing import get_args

import numpy as np

from engine.preprocessing import Preprocessor
from engine.tasks import create_task
from engine.tasks.task import InvalidOutputError, PredictOptions, Task
from loaders.model_errors import ModelSpecError
from loaders.model_loader import ModelLoader, Session, SessionOptions, Tensor, TensorInfo
from loaders.model_repository import ModelVersion, read_spec
from loaders.model_spec import Dtype, Layout, ModelSpec, PreprocessSpec, TaskName


@dataclass(frozen=True, slots=True)
class ModelRef:
    """Names what answered."""

    name: str
    version: int
    task: TaskName


class LiveModel:
    """A loaded model. `prepare` and `infer` may be called from many threads at once."""

    def __init__(self, ref: ModelRef, session: Session, spec: ModelSpec, *, exact_decode: bool = False) -> None:
        self.ref = ref
        self.session = session
        self._input = _picture_input(spec, session)
        self.spec = spec.model_copy(update={"preprocess": _complete(spec.preprocess, self._input)})
        self.preprocessor = Preprocessor(self.spec.preprocess, exact_decode=exact_decode)
        self.task: Task = create_task(self.spec)
        self.task.check(session)

    def infer(self, tensor: Tensor) -> dict[str, Tensor]:
        """Runs the graph on a tensor of `preprocessor.input_shape`; all outputs by name."""
        return self.session.run({self._input.name: tensor})

    def warm_up(self) -> None:
        """One run on a black picture: allocates, and proves that the graph runs and its answer can be read."""
        tensor = np.zeros(self.preprocessor.input_shape, self.spec.preprocess.dtype)
        self.task.postprocess(self.infer(tensor), PredictOptions())


def load_live_model(
    version: ModelVersion, loader: ModelLoader, options: SessionOptions, *, exact_decode: bool = False
) -> LiveModel:
    """Reads the spec, loads the graph and warms it up. Raises ModelError with what is wrong."""
    spec = read_spec(version)
    session = loader.load(version.graph, options)
    model = LiveModel(ModelRef(version.name, version.number, spec.task), session, spec, exact_decode=exact_decode)
    try:
        model.warm_up()
    except InvalidOutputError as error:
        raise ModelSpecError(f"the warm-up with a black picture failed: {error}") from error
    return model


def _picture_input(spec: ModelSpec, session: Session) -> TensorInfo:
    named = [i for i in session.inputs if spec.input in (None, i.name)]
    if not named:
        raise ModelSpecError(f"the graph has no input {spec.input!r}; it has: {_names(session.inputs)}")
    if len(session.inputs) != 1:
        raise ModelSpecError(f"the graph has several inputs, only one is supported: {_names(session.inputs)}")
    if len(named[0].shape) != 4:
        raise ModelSpecError(f"the input {named[0].name} has shape {named[0].shape}, not 4 dimensions")
    return named[0]


def _complete(spec: PreprocessSpec, graph_input: TensorInfo) -> PreprocessSpec:
    """Fills what model.toml leaves out from the graph, and refuses what contradicts it."""
    layout = spec.layout or _layout(graph_input, spec.channels)
    size = spec.size or _static_size(graph_input, layout)
    dtype = spec.dtype or _dtype(graph_input)
    _check_fits(spec.model_copy(update={"layout": layout, "size": size, "dtype": dtype}), graph_input)
    return spec.model_copy(update={"layout": layout, "size": size, "dtype": dtype})


def _layout(graph_input: TensorInfo, channels: int) -> Layout:
    """Channels last only where the graph says so; NCHW otherwise, as nearly every exporter writes."""
    return "NHWC" if graph_input.shape[3] == channels and graph_input.shape[1] != channels else "NCHW"


def _static_size(graph_input: TensorInfo, layout: Layout) -> tuple[int, int]:
    height, width = graph_input.shape[2:4] if layout == "NCHW" else graph_input.shape[1:3]
    if height is None or width is None:
        raise ModelSpecError("the graph leaves the picture's size open: say preprocess.size in model.toml")
    return height, width


def _dtype(graph_input: TensorInfo) -> Dtype:
    for dtype in get_args(Dtype):
        if graph_input.dtype == dtype:
            return dtype  # type: ignore[no-any-return]  # get_args gives Any
    raise ModelSpecError(f"the input {graph_input.name} is {graph_input.dtype}; supported: {get_args(Dtype)}")


def _check_fits(spec: PreprocessSpec, graph_input: TensorInfo) -> None:
    shape = Preprocessor(spec).input_shape
    fits = all(want in (None, have) for want, have in zip(graph_input.shape, shape, strict=True))
    if not fits or spec.dtype != graph_input.dtype:
        raise ModelSpecError(
            f"the input {graph_input.name} takes {graph_input.dtype} {_shape(graph_input.shape)}, "
            f"model.toml prepares {spec.dtype} {_shape(shape)}"
        )


def _shape(shape: tuple[int | None, ...]) -> str:
    return " x ".join("?" if dim is None else str(dim) for dim in shape)


def _names(tensors: tuple[TensorInfo, ...]) -> str:
    return ", ".join(tensor.name for tensor in tensors)
