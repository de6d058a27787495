"""A loaded model: the spec completed by the graph, the session, the preprocessing and the task."""

from dataclasses import dataclass
from typing import get_args

import numpy as np

from engine.models.runtime_report import RuntimeChoice
from engine.models.sample_report import SampleReport
from engine.preprocessing.extra_inputs import extra_tensor
from engine.preprocessing.geometry import Frame
from engine.preprocessing.preprocessor import Preprocessor
from engine.scheduling.run_context import RunContext, alone
from engine.scheduling.runner import Runner
from engine.scheduling.tuning import Tuning
from engine.tasks import create_task
from engine.tasks.task import InvalidOutputError, PredictOptions, Task
from loaders.images.base import ImageInfo, Picture
from loaders.model_errors import ModelSpecError
from loaders.repository.specs import ResolvedSpec
from loaders.repository.specs.model_spec import Dtype, ExtraInput, Layout, ModelSpec, PreprocessSpec, Resize, TaskName
from loaders.runtimes.base import Precision, Session
from loaders.tensors import Tensor, TensorInfo
from utils.time_utils import StageTimer

_TEXT_NAMES = ("input_ids", "attention_mask", "token", "text")
_PICTURE_DIMENSIONS = 4


@dataclass(frozen=True, slots=True)
class ModelRef:
    """Identifies the model that answered."""

    name: str
    version: int
    task: TaskName
    precision: Precision = Precision.EXACT


class LoadedModel:
    """Thread-safe. `tuning`: the measurements behind the runner's plan, None if nothing was measured.

    `samples`: set by the load, if the model has samples. `runtime`: set by the load, if it is a service's.
    """

    def __init__(
        self,
        ref: ModelRef,
        runner: Runner,
        resolved: ResolvedSpec,
        *,
        exact_decode: bool = False,
        tuning: Tuning | None = None,
    ) -> None:
        self.ref = ref
        self.runner = runner
        self.session = session = runner.session
        self.resolved = resolved
        self.tuning = tuning
        self.samples: SampleReport | None = None
        self.runtime: RuntimeChoice | None = None
        self._exact_decode = exact_decode
        spec = resolved.spec
        _check_inputs(spec, session)
        self._input = _picture_input(spec, session)
        self._extra_inputs = {i.name: (_extra_kind(spec, i), i.dtype) for i in session.inputs if i is not self._input}
        self.spec = spec.model_copy(update={"preprocess": _complete(spec.preprocess, self._input)})
        self.preprocessor = Preprocessor(self.spec.preprocess, exact_decode=exact_decode)
        self.task: Task = create_task(self.spec)
        self.task.check(session)

    def infer(self, tensor: Tensor, frame: Frame, context: RunContext | None = None) -> dict[str, Tensor]:
        """Runs the graph on one picture's tensor, placed in the input as `frame` says; returns all outputs by name.

        Raises ModelRunError, RunStoppedError.
        """
        return self.runner.run(self.inputs(tensor, frame), context or alone(StageTimer()))

    def warm_up(self) -> None:
        """Runs the graph once: allocates memory and checks that the outputs can be read.

        Uses a black picture; a graph that normalises by the picture's contrast fails on it, so noise is tried next.
        Raises ModelRunError, InvalidOutputError.
        """
        try:
            self._check_run(self.black_picture())
        except InvalidOutputError:
            _, noise = self.test_pictures()
            self._check_run(self.inputs(self.preprocessor(noise), self.preprocessor.frame(noise.info.size)))

    def test_pictures(self) -> tuple[Picture, Picture]:
        """Returns a black picture and a noise picture of the input's size."""
        size = self.preprocessor.target
        black = np.zeros((size.height, size.width, 3), np.uint8)
        noise = np.random.default_rng(0).integers(0, 256, black.shape, np.uint8)
        info = ImageInfo("PNG", size.width, size.height)
        return Picture(black, info), Picture(noise, info)

    def black_picture(self) -> dict[str, Tensor]:
        """Returns the graph's inputs for a black picture of the input's size."""
        tensor = np.zeros(self.preprocessor.input_shape, self.spec.preprocess.dtype)
        return self.inputs(tensor, self.preprocessor.frame(self.preprocessor.target))

    def _check_run(self, inputs: dict[str, Tensor]) -> None:
        """Uses base64, which can encode every value of a raw tensor."""
        frame = self.preprocessor.frame(self.preprocessor.target)
        outputs = self.runner.run(inputs, alone(StageTimer()))
        self.task.postprocess(outputs, frame, PredictOptions(encoding="base64"))

    def with_runner(self, runner: Runner, tuning: Tuning | None) -> "LoadedModel":
        """Returns the same model with another runner."""
        return LoadedModel(self.ref, runner, self.resolved, exact_decode=self._exact_decode, tuning=tuning)

    def inputs(self, tensor: Tensor, frame: Frame) -> dict[str, Tensor]:
        """Returns the graph's inputs for one picture's tensor."""
        extras = {name: extra_tensor(kind, frame, dtype) for name, (kind, dtype) in self._extra_inputs.items()}
        return {self._input.name: tensor, **extras}


def _check_inputs(spec: ModelSpec, session: Session) -> None:
    """Raises ModelSpecError for a graph that needs more than one picture and what follows from it."""
    others = [i for i in session.inputs if i.name != spec.input and i.name not in spec.extra_inputs]
    text = [i.name for i in others if i.dtype == "string" or any(word in i.name.lower() for word in _TEXT_NAMES)]
    if text:
        raise ModelSpecError(
            f"the graph needs text ({', '.join(text)}): export the vision tower alone, as with "
            "`optimum-cli export onnx --model VISION_MODEL --task feature-extraction OUT`"
        )
    pictures = [i.name for i in others if len(i.shape) == _PICTURE_DIMENSIONS]
    if pictures and any(i.name == spec.input for i in session.inputs):
        raise ModelSpecError(f"the graph needs a second picture ({', '.join(pictures)}): a request has one")


def _picture_input(spec: ModelSpec, session: Session) -> TensorInfo:
    """Returns the input that the spec names, or the only one that is not in `extra_inputs`."""
    named = [i for i in session.inputs if (i.name == spec.input if spec.input else i.name not in spec.extra_inputs)]
    if not session.inputs:
        raise ModelSpecError("the graph has no input, so its answer does not depend on the picture")
    if not named:
        raise ModelSpecError(f"the graph has no input {spec.input!r}; it has: {_names(session.inputs)}")
    if len(named) > 1:
        raise ModelSpecError(
            f"the graph has several inputs: {_names(session.inputs)}; set input (the picture) and "
            "extra_inputs (the others) in model.toml"
        )
    if len(named[0].shape) != _PICTURE_DIMENSIONS:
        raise ModelSpecError(f"the input {named[0].name} has shape {named[0].shape}, not 4 dimensions")
    return named[0]


def _extra_kind(spec: ModelSpec, graph_input: TensorInfo) -> ExtraInput:
    kind = spec.extra_inputs.get(graph_input.name)
    if kind is None:
        raise ModelSpecError(f"the graph's input {graph_input.name} is unknown: set extra_inputs in model.toml")
    return kind


def _complete(spec: PreprocessSpec, graph_input: TensorInfo) -> PreprocessSpec:
    """Completes the spec from the graph. Raises ModelSpecError if they contradict each other."""
    layout = spec.layout or _layout(graph_input, spec.channels)
    size = spec.size or _graph_size(spec, graph_input, layout)
    dtype = spec.dtype or _dtype(graph_input)
    _check_fits(spec.model_copy(update={"layout": layout, "size": size, "dtype": dtype}), graph_input)
    return spec.model_copy(update={"layout": layout, "size": size, "dtype": dtype})


def _layout(graph_input: TensorInfo, channels: int) -> Layout:
    """Returns NHWC if the graph's shape shows it, else NCHW, the layout of nearly every exporter."""
    return "NHWC" if graph_input.shape[3] == channels and graph_input.shape[1] != channels else "NCHW"


def _graph_size(spec: PreprocessSpec, graph_input: TensorInfo, layout: Layout) -> tuple[int, int] | None:
    height, width = graph_input.shape[2:4] if layout == "NCHW" else graph_input.shape[1:3]
    if height is not None and width is not None:
        return height, width
    if spec.resize is Resize.BOUNDED:
        return None
    raise ModelSpecError("the graph does not fix the picture's size: set preprocess.size in model.toml")


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
            f"the spec prepares {spec.dtype} {_shape(shape)}"
        )


def _shape(shape: tuple[int | None, ...]) -> str:
    return " x ".join("?" if dim is None else str(dim) for dim in shape)


def _names(tensors: tuple[TensorInfo, ...]) -> str:
    return ", ".join(tensor.name for tensor in tensors)
