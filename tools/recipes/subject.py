"""The classifier whose recipe is searched, loaded without one."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import get_args

from engine.models.hidden_activation import without_hidden_activation
from engine.models.load import resolve_files
from engine.models.loaded_model import LoadedModel, ModelRef
from engine.scheduling.runner import single_session
from loaders.model_errors import ModelError, ModelRunError, ModelSpecError
from loaders.model_loader import DEFAULT_MODEL_LOADER, create_model_loader
from loaders.repository.specs import ModelFiles, ResolvedSpec
from loaders.repository.specs.model_spec import Color, Dtype, Layout, PreprocessSpec, TaskName
from loaders.runtimes.base import SessionOptions
from loaders.tensors import TensorInfo
from tools.recipes.candidates import OPEN_SIZES
from tools.recipes.evidence import class_scores
from utils.cpu_budget import cpu_budget

_CHANNELS: dict[int | None, Color] = {1: Color.GRAY, 3: Color.RGB, None: Color.RGB}


@dataclass(frozen=True, slots=True)
class Subject:
    """`model` prepares pictures in some way that its graph takes. `open_size`: the graph takes any size."""

    model: LoadedModel
    classes: int
    open_size: bool


def load_subject(files: ModelFiles) -> Subject:
    """Raises ModelError."""
    resolved = resolve_files(files)
    if resolved.spec.task is not TaskName.IMAGE_CLASSIFICATION:
        raise ModelSpecError(f"its task is {resolved.spec.task}; recipes are found for image-classification")
    threads = cpu_budget()
    session = create_model_loader(DEFAULT_MODEL_LOADER).load(files.graph, SessionOptions(threads=threads))
    named = [i for i in session.inputs if resolved.spec.input in (None, i.name)]
    if len(named) != 1 or len(named[0].shape) != 4 or named[0].dtype not in get_args(Dtype):
        shapes = "; ".join(f"{i.name} {i.dtype} {i.shape}" for i in session.inputs)
        raise ModelSpecError(f"one input with 4 dimensions is needed, for a picture; there are: {shapes}")
    ref, runner = ModelRef(files.name, 1, resolved.spec.task), single_session(session, threads)
    error: ModelError = ModelSpecError(f"{named[0].name} has shape {named[0].shape}: 1 or 3 channels are needed")
    for layout, base in _bases(named[0]):
        spec = resolved.spec.model_copy(update={"preprocess": base})
        model = LoadedModel(ref, runner, ResolvedSpec(spec, resolved.decided_by, ()))
        try:
            classes = len(class_scores(model, session.run(model.black_picture())))
        except ModelRunError as failed:  # a graph that declares no sizes takes one layout
            error = failed
            continue
        corrected = without_hidden_activation(model)
        model = LoadedModel(ref, runner, corrected) if corrected else model
        return Subject(model, classes, None in _sides(named[0], layout))
    raise error


def _bases(picture: TensorInfo) -> Iterator[tuple[Layout, PreprocessSpec]]:
    """A spec without a recipe, for each layout that the input may have."""
    for layout in get_args(Layout):
        color = _CHANNELS.get(picture.shape[1 if layout == "NCHW" else 3])
        if color:
            height, width = (side or OPEN_SIZES[0] for side in _sides(picture, layout))
            base = PreprocessSpec(size=(height, width), color=color, layout=layout)
            yield layout, base.model_copy(update={"dtype": picture.dtype})


def _sides(picture: TensorInfo, layout: Layout) -> tuple[int | None, int | None]:
    height, width = picture.shape[2:4] if layout == "NCHW" else picture.shape[1:3]
    return height, width
