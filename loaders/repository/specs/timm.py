"""Resolves timm's `config.json` (`pretrained_cfg`), also as written by transformers' TimmWrapper.

The rules are those of timm/data/transforms_factory.py (transforms_imagenet_eval), and of torchvision's Resize (the long
edge is rounded down) and CenterCrop (its offset is rounded to the nearest).
"""

from collections.abc import Mapping
from math import floor

from loaders.onnx.onnx_file import OnnxGraph
from loaders.repository.specs.constants import IMAGENET_MEAN, IMAGENET_STD
from loaders.repository.specs.decision import Decisions, decide, decided
from loaders.repository.specs.hugging_face_processors import find_processor_file
from loaders.repository.specs.json_object import JsonObject
from loaders.repository.specs.label_lists import labels_of
from loaders.repository.specs.model_files import ModelFiles
from loaders.repository.specs.model_spec import Activation, Interpolation, Resize, Rounding, TaskName, Transparency

SOURCE = "timm config.json"

_CONFIG = "config.json"
_TAGS = "selected_tags.csv"  # of WD taggers, which give a picture several labels
_DEFAULT_SIZE, _DEFAULT_CROP_PCT = (224, 224), 0.875
_INTERPOLATIONS = {
    "nearest": Interpolation.NEAREST, "bilinear": Interpolation.BILINEAR, "bicubic": Interpolation.BICUBIC,
    "lanczos": Interpolation.LANCZOS, "random": Interpolation.BILINEAR,
}  # fmt: skip

Sides = tuple[int, int]


def resolve(files: ModelFiles, _: OnnxGraph, decisions: Decisions) -> Decisions:
    config = JsonObject(files.where(_CONFIG), files.read_object(_CONFIG) or {})
    pretrained = _pretrained(files, config)
    if pretrained is None:
        return {}
    task = _task(config, pretrained)
    several = files.read_text(_TAGS) is not None
    softmax = Activation.SOFTMAX if task is TaskName.IMAGE_CLASSIFICATION and not several else None
    fields = {"task": task, "labels": _labels(config, pretrained), "activation": softmax}
    return decide(SOURCE, fields | _preprocessing(pretrained, decisions))


def _pretrained(files: ModelFiles, config: JsonObject) -> JsonObject | None:
    """Returns `pretrained_cfg`; in old files the whole file, in a processor's file `data_config`."""
    processor = find_processor_file(files)
    if processor is not None and (data_config := processor[1].nested("data_config")) is not None:
        return data_config
    if (pretrained := config.nested("pretrained_cfg")) is not None:
        return pretrained
    return config if {"architecture", "input_size"} <= config.data.keys() else None


def _preprocessing(pretrained: JsonObject, decisions: Decisions) -> dict[str, object]:
    size, crop_pct = _size_and_crop_pct(pretrained, decisions)
    mean = pretrained.numbers("mean", IMAGENET_MEAN)
    interpolation = _INTERPOLATIONS.get(pretrained.text("interpolation") or "bicubic")
    fields: dict[str, object] = {
        "preprocess.size": size,
        "preprocess.interpolation": interpolation or pretrained.reject("interpolation", ", ".join(_INTERPOLATIONS)),
        "preprocess.crop_rounding": Rounding.NEAREST,
        "preprocess.rescale_factor": 1 / 255,
        "preprocess.mean": mean,
        "preprocess.std": pretrained.numbers("std", IMAGENET_STD),
        "preprocess.transparency": Transparency.DROP,
    }
    scaled = floor(size[0] / crop_pct), floor(size[1] / crop_pct)
    return fields | _resizing(pretrained, scaled, mean)


def _resizing(pretrained: JsonObject, scaled: Sides, mean: tuple[float, ...]) -> dict[str, object]:
    """`scaled`: the size before the crop. Only a square keeps torchvision's resize, which rounds down."""
    match pretrained.text("crop_mode") or "center":
        case "squash":
            return {"preprocess.resize": Resize.STRETCH, "preprocess.resize_size": scaled}
        case "border":
            return {
                "preprocess.resize": Resize.LETTERBOX,
                "preprocess.resize_size": scaled,
                "preprocess.resize_rounding": Rounding.NEAREST,
                "preprocess.pad_value": _levels(mean),
            }
        case "center" if scaled[0] == scaled[1]:
            return {"preprocess.resize": Resize.SHORTEST_EDGE, "preprocess.shortest_edge": scaled[0]}
        case "center":
            return {
                "preprocess.resize": Resize.COVER,
                "preprocess.resize_size": scaled,
                "preprocess.resize_rounding": Rounding.NEAREST,
            }
    return pretrained.reject("crop_mode", "center, squash or border")


def _levels(mean: tuple[float, ...]) -> int | tuple[int, ...]:
    levels = tuple(round(min(max(255 * value, 0), 255)) for value in mean)
    return levels if len(levels) > 1 else levels[0] if levels else 0


def _size_and_crop_pct(pretrained: JsonObject, decisions: Decisions) -> tuple[Sides, float]:
    """Uses `test_crop_pct` for a graph that was exported at the test size."""
    fixed = decided(decisions, "preprocess.size")
    size = _size(pretrained, "input_size") or _DEFAULT_SIZE
    test_size = _size(pretrained, "test_input_size")
    crop_pct = pretrained.number("crop_pct", 0) or _DEFAULT_CROP_PCT
    if isinstance(fixed, list | tuple) and len(fixed) == 2 and tuple(fixed) != size:
        crop_pct = pretrained.number("test_crop_pct", 0) or crop_pct if tuple(fixed) == test_size else crop_pct
        size = (int(fixed[0]), int(fixed[1]))
    if not 0.1 <= crop_pct <= 1:
        pretrained.reject("crop_pct", "a number from 0.1 to 1")
    return size, crop_pct


def _size(pretrained: JsonObject, key: str) -> Sides | None:
    """Returns height and width of [channels, height, width]."""
    value = pretrained.data.get(key)
    if value is None:
        return None
    if not isinstance(value, list) or len(value) != 3:
        pretrained.reject(key, "channels, height and width")
    height, width = (pretrained.as_integer(key, side) for side in value[1:])
    return (height, width) if 0 < min(height, width) <= 16_384 else pretrained.reject(key, "1 to 16384 pixels")


def num_classes(config: JsonObject, pretrained: JsonObject | None = None) -> int | None:
    count = config.integer("num_classes")
    return pretrained.integer("num_classes") if count is None and pretrained is not None else count


def _task(config: JsonObject, pretrained: JsonObject) -> TaskName | None:
    match num_classes(config, pretrained):
        case None:
            return None
        case 0:
            return TaskName.IMAGE_FEATURE_EXTRACTION
        case _:
            return TaskName.IMAGE_CLASSIFICATION


def _labels(config: JsonObject, pretrained: JsonObject) -> tuple[str, ...] | None:
    """`label_names` may be synsets, described in `label_descriptions`. Old files have `labels`."""
    for source in (config, pretrained):
        for key in ("label_names", "labels"):
            names = labels_of(f"{source.where}: {key}", source.data.get(key))
            if names:
                return _described(names, source.data.get("label_descriptions"))
    return None


def _described(names: tuple[str, ...], descriptions: object) -> tuple[str, ...]:
    if not isinstance(descriptions, Mapping):
        return names
    return tuple(str(descriptions.get(name, name)) for name in names)
