"""Answers the samples beside a model and compares the answers with the framework's, before the model may serve."""

from collections.abc import Mapping
from dataclasses import dataclass

from engine.models.loaded_model import LoadedModel
from engine.models.sample_differences import Difference, prediction_difference, tensor_difference
from engine.models.sample_report import SampleReport
from engine.tasks.predictions import Prediction
from engine.tasks.task import InvalidOutputError, PredictOptions
from loaders.images.base import ImageLoader, Size
from loaders.images.errors import ImageError
from loaders.model_errors import ModelRunError, ModelSampleError
from loaders.repository.model_repository import ModelVersion
from loaders.repository.samples import Expected, Sample, SampleFolder
from loaders.tensors import Tensor

# All predictions: the framework's may have any rank in our answer.
_ALL = 1_000_000
# Tensors that differ by more, relative to their spread, have parted: rounding and decoders stay far below.
_PARTED = 0.03
_REMEDY = "if the new answers are right, record the samples again (tools/record_samples.py) or remove them"


@dataclass(frozen=True, slots=True)
class _Answer:
    """The answer about one picture, with the tensors between the stages."""

    picture: Size
    input: Tensor
    outputs: Mapping[str, Tensor]
    predictions: list[Prediction]


def check_samples(
    model: LoadedModel, version: ModelVersion, loader: ImageLoader, more: float = 0.0
) -> SampleReport | None:
    """Returns None for a model without samples. Raises ModelSampleError if an answer differs, or cannot be given.

    `more`: what the runtime may add to the samples' tolerance.
    """
    folder = version.samples
    expected = folder.read() if folder else None
    if folder is None or expected is None:
        return None
    differences = sample_differences(model, folder, expected, loader)
    tolerance = expected.tolerance + more
    count, agreeing = len(differences), sum(difference.size <= tolerance for difference in differences)
    worst, made = max(differences), expected.made
    if agreeing < count:
        raise ModelSampleError(
            f"{count - agreeing} of {count} samples disagree with {made.framework}: "
            f"{worst.text} (difference {worst.size:.4f}, tolerance {tolerance:g}); {_REMEDY}"
        )
    summary = f"agrees with its framework: {agreeing} of {count}, largest difference {worst.size:.4f}"
    largest = round(worst.size, 6)
    return SampleReport(
        summary, count, agreeing, largest, round(tolerance, 6), made.framework, made.date, made.how, made.versions
    )


def sample_differences(
    model: LoadedModel, folder: SampleFolder, expected: Expected, loader: ImageLoader
) -> list[Difference]:
    """The largest difference of each sample. Raises ModelSampleError if the model cannot answer one."""
    return [_compare(model, folder, sample, expected, loader) for sample in expected.samples]


def _compare(
    model: LoadedModel, folder: SampleFolder, sample: Sample, expected: Expected, loader: ImageLoader
) -> Difference:
    """The largest difference of one picture; its text names the picture, and the stage if the answers disagree."""
    title = f"{folder.title}/{sample.file}"
    options = PredictOptions(_ALL, expected.threshold, expected.normalize)
    try:
        answer = _answer(model, loader, folder.picture(sample), options)
    except (ImageError, ModelRunError, InvalidOutputError) as error:
        raise ModelSampleError(f"{title}: {error}") from error
    if sample.predictions is None:
        unknown = Difference(1.0, f"the graph has none of the outputs {', '.join(sample.outputs)}")
        found = max(_output_differences(sample, answer), default=unknown)
    else:
        threshold = model.spec.score_threshold if expected.threshold is None else expected.threshold
        found = prediction_difference(sample.predictions, answer.predictions, answer.picture, threshold)
    stage = _stage(sample, answer) if found.size > expected.tolerance else ""
    return Difference(found.size, f"{title}: {found.text}{stage}")


def _answer(model: LoadedModel, loader: ImageLoader, data: bytes, options: PredictOptions) -> _Answer:
    """The stages of engine/pipeline.py, keeping the tensors between them."""
    picture = loader.load(data, model.preprocessor.decode_size)
    frame = model.preprocessor.frame(picture.info.size)
    tensor = model.preprocessor(picture)
    outputs = model.infer(tensor, frame)
    return _Answer(picture.info.size, tensor, outputs, model.task.postprocess(outputs, frame, options))


def _stage(sample: Sample, answer: _Answer) -> str:
    """Where the tensors part, as the end of a sentence; empty if nothing is known about them."""
    if sample.input:
        apart = tensor_difference(sample.input, answer.input)
        if apart.size > _PARTED:
            return f"; they part at preprocessing: of the input tensor, {apart.text}"
    found = _output_differences(sample, answer)
    if not found:
        return "; they part after preprocessing" if sample.input else ""
    apart = max(found)
    stage = "inference" if sample.input else "inference or before"
    return f"; they part at {stage}: {apart.text}" if apart.size > _PARTED else "; they part at postprocessing"


def _output_differences(sample: Sample, answer: _Answer) -> list[Difference]:
    """Of the outputs that both sides have; the only output of each may have any name."""
    theirs, ours = sample.outputs, answer.outputs
    if len(theirs) == len(ours) == 1:
        pairs = list(zip(ours, theirs.values(), ours.values(), strict=True))
    else:
        pairs = [(name, theirs[name], ours[name]) for name in theirs if name in ours]
    found = [(name, tensor_difference(expected, output)) for name, expected, output in pairs]
    return [Difference(apart.size, f"of the output {name}, {apart.text}") for name, apart in found]
