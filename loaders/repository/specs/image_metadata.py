"""Resolves `Image.*` metadata: Windows ML, Azure Custom Vision and converted Core ML models.

https://github.com/onnx/onnx/blob/main/docs/MetadataProps.md; pictures are stretched as in Custom Vision's sample
(customvision-export-samples: classification/predict.py).
"""

from loaders.onnx.onnx_file import OnnxGraph
from loaders.repository.specs.decision import Decisions, decide, warn
from loaders.repository.specs.model_files import ModelFiles
from loaders.repository.specs.model_spec import Activation, Color, Interpolation, Resize, TaskName
from loaders.tensors import TensorInfo

SOURCE = "Image.* metadata"

_FORMAT, _GAMMA, _RANGE = "image.bitmappixelformat", "image.colorspacegamma", "image.nominalpixelrange"
_COLORS = {"gray8": Color.GRAY, "bgr8": Color.BGR, "bgra8": Color.BGR}

# rescale_factor and mean, for pixels of 0 to 255.
_RANGES = {
    "nominalrange_0_255": (1.0, 0.0),
    "normalized_0_1": (1 / 255, 0.0),
    "normalized_1_1": (2 / 255, 1.0),
    "nominalrange_16_235": (219 / 255, -16.0),
}
_DEFAULT_RANGE = "normalized_0_1"  # that of Custom Vision's sample
_SCORES = ("loss", "probabilities", "probability", "model_output")


def resolve(files: ModelFiles, graph: OnnxGraph, __: Decisions) -> Decisions:
    metadata = {key.lower(): value.lower() for key, value in graph.metadata.items()}
    if _FORMAT not in metadata and _RANGE not in metadata:
        return {}
    rescale, mean = _RANGES.get(metadata.get(_RANGE, _DEFAULT_RANGE), _RANGES[_DEFAULT_RANGE])
    scores = _score_output(graph)
    fields: dict[str, object] = {
        "preprocess.resize": Resize.STRETCH,
        "preprocess.interpolation": Interpolation.BILINEAR,
        "preprocess.color": _COLORS.get(metadata.get(_FORMAT, ""), Color.RGB),
        "preprocess.rescale_factor": rescale,
        "preprocess.mean": (mean,),
        "preprocess.std": (1.0,),
    }
    if scores is not None:
        fields |= {
            "task": TaskName.IMAGE_CLASSIFICATION,
            "outputs": (scores.name,),
            "activation": Activation.NONE if scores.name != _SCORES[-1] else None,
        }
    return decide(
        SOURCE, fields, {"outputs": _output_warning(scores), "preprocess.rescale_factor": _warning(files, metadata)}
    )


def _score_output(graph: OnnxGraph) -> TensorInfo | None:
    """Classic exports have the best class in `classLabel`, and all scores in another output."""
    outputs = {output.name.lower(): output for output in graph.outputs}
    return next((outputs[name] for name in _SCORES if name in outputs), None)


def _output_warning(scores: TensorInfo | None) -> str:
    if scores is None or scores.dtype not in ("sequence", "map"):
        return ""
    return f"the output {scores.name} is a {scores.dtype} (ZipMap), which is not supported; export without ZipMap"


def _warning(files: ModelFiles, metadata: dict[str, str]) -> str:
    if metadata.get(_GAMMA) == "linear":
        return "the model expects linear light (Image.ColorSpaceGamma), which is not supported: scores may be wrong"
    if metadata.get(_RANGE) in _RANGES:
        return ""
    risk = "Image.NominalPixelRange is not recorded, another range makes every score wrong: assumed 0 to 1"
    return warn(files, risk, "rescale_factor = 1.0 for 0 to 255")
