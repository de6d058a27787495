"""Loads a version: resolves its spec, loads its graph, warms it up."""

from dataclasses import replace
from pathlib import Path

from engine.models.hidden_activation import without_hidden_activation
from engine.models.loaded_model import LoadedModel, ModelRef
from engine.preprocessing.preprocessor import Preprocessor
from engine.scheduling.runner import single_session
from engine.tasks.task import InvalidOutputError
from loaders.model_errors import ModelSpecError
from loaders.onnx.onnx_file import check_external_files, read_onnx
from loaders.repository.model_repository import ModelVersion
from loaders.repository.specs import ResolvedSpec, resolve
from loaders.repository.specs.model_files import MODEL_TOML, ModelFiles
from loaders.repository.specs.model_spec import ExtraInput, ModelSpec
from loaders.runtimes.base import ModelLoader, Precision, SessionOptions


def load_model(
    version: ModelVersion, loader: ModelLoader, options: SessionOptions, *, exact_decode: bool = False
) -> LoadedModel:
    """Returns the model after a warm-up run. Raises ModelError."""
    try:
        return _load(version, loader, options, exact_decode=exact_decode)
    except ModelSpecError as error:
        raise ModelSpecError(str(error).replace(MODEL_TOML, version.files.spec_file)) from error


def _load(version: ModelVersion, loader: ModelLoader, options: SessionOptions, *, exact_decode: bool) -> LoadedModel:
    resolved = resolve_files(version.files)
    options = replace(options, shapes=_input_shapes(resolved.spec))
    session = loader.load(graph_in(version, options.precision), options)
    ref = ModelRef(version.name, version.number, resolved.spec.task, options.precision)
    runner = single_session(session, options.threads)
    model = LoadedModel(ref, runner, resolved, exact_decode=exact_decode)
    try:
        model.warm_up()
    except InvalidOutputError as error:
        raise ModelSpecError(f"the warm-up failed with a black picture and with a noise picture: {error}") from error
    corrected = without_hidden_activation(model)
    return LoadedModel(ref, runner, corrected, exact_decode=exact_decode) if corrected else model


def graph_in(version: ModelVersion, precision: Precision) -> Path:
    """Returns the file that is run with this precision."""
    return version.twin if precision is Precision.INT8 and version.twin else version.graph


def _input_shapes(spec: ModelSpec) -> dict[str, tuple[int, ...]]:
    """Returns the shapes of the inputs for one picture; nothing where the spec leaves its size to the graph."""
    try:
        preprocessor = Preprocessor(spec.preprocess)
    except ValueError:
        return {}
    mask = (1, preprocessor.target.height, preprocessor.target.width)
    shapes = {name: mask if kind is ExtraInput.MASK else (1, 2) for name, kind in spec.extra_inputs.items()}
    return shapes | ({spec.input: preprocessor.input_shape} if spec.input else {})


def resolve_files(files: ModelFiles) -> ResolvedSpec:
    """Resolves the spec from the graph's metadata and the files around it, without the runtime. Raises ModelError."""
    graph = read_onnx(files.graph)
    check_external_files(files.graph, graph)
    return resolve(files, graph)
