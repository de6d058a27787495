"""Resolves preprocessing from the image processor of Hugging Face transformers.

Its settings are in `preprocessor_config.json`, or in `processor_config.json` (transformers 5). Missing keys have the
defaults of its class, which also decides how pictures are resized.
https://huggingface.co/docs/transformers/main_classes/image_processor
"""

from dataclasses import asdict

from loaders.onnx.onnx_file import OnnxGraph
from loaders.repository.specs.decision import Decisions, decide, decided, warn
from loaders.repository.specs.hugging_face_processors import ImageProcessor, read_processor
from loaders.repository.specs.hugging_face_resizing import Resizing, fit, has_rule, resizing_of
from loaders.repository.specs.json_object import JsonObject
from loaders.repository.specs.model_files import ModelFiles
from loaders.repository.specs.model_spec import Color, Interpolation, Resize, Transparency

_BYTE = 255
_PILLOW_RESAMPLING = {
    0: Interpolation.NEAREST, 1: Interpolation.LANCZOS, 2: Interpolation.BILINEAR, 3: Interpolation.BICUBIC,
}  # fmt: skip
_NOT_ANTIALIASED = {
    Interpolation.BILINEAR: Interpolation.OPENCV_LINEAR, Interpolation.BICUBIC: Interpolation.OPENCV_CUBIC,
}  # fmt: skip

# Classes that resize without antialiasing, that use neither mean nor factor, and that reverse the channels: after the
# normalisation, the other way round than `do_flip_channel_order` of MobileViT, which does not normalise.
_ALIASED = ("DepthPro", "PPDocLayoutV2", "PPDocLayoutV3", "PPDocLayoutV4", "RfDetr")
_RAW = ("LayoutLMv2",)
_REVERSED = ("LayoutLMv2", "PPLCNet", "PPOCRV5ServerDet", "UVDoc")
_NEVER_NORMALISED = ("LayoutLMv2", "MobileViT", "SuperPoint", "GLPN")

# Options that cut a picture into several, or make it grey: nothing here does.
_UNSUPPORTED = ("do_split_image", "do_image_splitting", "crop_to_patches", "do_grayscale")


def resolve(files: ModelFiles, graph: OnnxGraph, decisions: Decisions) -> Decisions:
    processor = read_processor(files)
    if processor is None or processor.family == "TimmWrapper":
        return {}
    resizing = resizing_of(processor.family, processor.settings)
    size = decided(decisions, "preprocess.size")
    if isinstance(size, list | tuple) and len(size) == 2:
        masked = any(i.name == "pixel_mask" for i in graph.inputs)
        resizing = fit(resizing, (size[0], size[1]), processor.file, masked=masked)
    source = f"{processor.file} ({processor.class_name})" if processor.class_name else processor.file
    return decide(source, _fields(processor, resizing), _warnings(files, processor, resizing))


def _fields(processor: ImageProcessor, resizing: Resizing) -> dict[str, object]:
    config, family = processor.settings, processor.family
    mean, std = _normalisation(config, family)
    flips = family in _REVERSED or config.flag("do_flip_channel_order")
    if flips:
        mean, std = mean[::-1], std[::-1]
    geometry = {f"preprocess.{name}": value for name, value in asdict(resizing).items() if name not in ("risk", "line")}
    return geometry | {
        "preprocess.interpolation": _interpolation(config, family),
        "preprocess.color": Color.BGR if flips else Color.RGB,
        "preprocess.rescale_factor": 1.0 if family in _RAW else _rescale(config),
        "preprocess.mean": mean,
        "preprocess.std": std,
        "preprocess.pad_value": _pad_value(config, mean) if _is_padded(resizing) else 0,
        "preprocess.transparency": Transparency.DROP,
    }


def _warnings(files: ModelFiles, processor: ImageProcessor, resizing: Resizing) -> dict[str, str]:
    name = processor.class_name or f"of {processor.file}"
    warnings = {"preprocess.resize": warn(files, resizing.risk, resizing.line) if resizing.risk else ""}
    options = [option for option in _UNSUPPORTED if processor.settings.flag(option)]
    if processor.known and processor.steps and not has_rule(processor.family):
        risk = f"the image processor {name} has steps that are unknown here ({', '.join(processor.steps)})"
        warnings["preprocess.resize"] = warn(files, f"{risk}: scores may be wrong", resizing.line)
    elif options:
        warnings["preprocess.resize"] = warn(
            files, f"{', '.join(options)} of the image processor {name} is not supported", resizing.line
        )
    if not processor.known and (processor.class_name or processor.left_out):
        assumed = ", ".join(processor.left_out) or "its steps"
        risk = f"the image processor {name} is unknown, so that scores may be wrong: {assumed} assumed to be ViT's"
        warnings["preprocess.mean"] = warn(files, risk, "resize, mean and std")
    return warnings


def _interpolation(config: JsonObject, family: str) -> Interpolation:
    value = config.integer("resample")
    if value is None:
        return Interpolation.BILINEAR
    found = _PILLOW_RESAMPLING.get(value) or config.reject("resample", "0, 1, 2 or 3, as Pillow numbers them")
    return _NOT_ANTIALIASED.get(found, found) if family in _ALIASED else found


def _rescale(config: JsonObject) -> float:
    return config.number("rescale_factor", 1 / _BYTE) if config.flag("do_rescale") else 1.0


def _normalisation(config: JsonObject, family: str) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Merges EfficientNet's steps: `rescale_offset` subtracts 1 first, `include_top` divides by std again."""
    normalizes = config.flag("do_normalize") and family not in _NEVER_NORMALISED
    image_mean, image_std = config.numbers("image_mean", (0.0,)), config.numbers("image_std", (1.0,))
    mean, std = (image_mean, image_std) if normalizes else ((0.0,), (1.0,))
    if family != "EfficientNet":
        return mean, std
    if config.flag("rescale_offset"):
        mean = tuple(value + 1 for value in mean)
    if config.flag("include_top"):
        std = tuple(value**2 for value in image_std) if normalizes else image_std
    return mean, std


def _is_padded(resizing: Resizing) -> bool:
    return resizing.resize is Resize.LONGEST_EDGE or (resizing.resize is Resize.BOUNDED and resizing.size is not None)


def _pad_value(config: JsonObject, mean: tuple[float, ...]) -> int | tuple[int, ...]:
    """Returns the bytes nearest to 0 after normalisation, where the processor pads with 0."""
    factor = max(_rescale(config), 1e-6)
    levels = tuple(round(min(max(value / factor, 0), _BYTE)) for value in mean)
    return levels if len(set(levels)) > 1 else levels[0] if levels else 0
