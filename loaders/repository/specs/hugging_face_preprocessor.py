"""Hugging Face's `preprocessor_config.json`: what an image processor of transformers does to a picture.

A file that names the class but leaves keys out means that class's defaults, so the class decides what `crop_pct` or a
bare `size` is. https://huggingface.co/docs/transformers/main_classes/image_processor
"""

from dataclasses import dataclass

from loaders.onnx.onnx_file import OnnxGraph
from loaders.repository.specs.decision import Decisions, decide, decided
from loaders.repository.specs.hugging_face_processors import PROCESSORS, UNKNOWN, Processor, family
from loaders.repository.specs.json_object import JsonObject
from loaders.repository.specs.model_files import ModelFiles
from loaders.repository.specs.model_spec import Color, Interpolation, Resize

FILE = "preprocessor_config.json"

_BYTE = 255
_STRETCH_FROM = 384  # pixels: from here on, ConvNeXT's processor stretches and does not crop
_CROP_PCT = 224 / 256
_PILLOW_RESAMPLING = {
    0: Interpolation.NEAREST, 1: Interpolation.LANCZOS, 2: Interpolation.BILINEAR, 3: Interpolation.BICUBIC,
}  # fmt: skip
_CLASS_KEYS = ("image_processor_type", "feature_extractor_type")

Sides = tuple[int, int]


@dataclass(frozen=True, slots=True)
class _Resizing:
    """`size`: of the tensor. `edge`: the shortest before the crop. None leaves it to the picture, or to the graph."""

    resize: Resize
    size: Sides | None = None
    edge: int | None = None
    longest: int | None = None
    warning: str = ""


def resolve(files: ModelFiles, graph: OnnxGraph, decisions: Decisions) -> Decisions:
    data = files.read_object(FILE)
    if data is None or not ({"size", "image_mean", "do_resize", *_CLASS_KEYS} & data.keys()):
        return {}
    config = JsonObject(files.path_below_models(FILE), data)
    class_name = next((name for key in _CLASS_KEYS if (name := config.text(key))), "")
    if family(class_name) == "TimmWrapper":
        return {}
    processor = PROCESSORS.get(family(class_name), UNKNOWN)
    resizing = _fit_graph(_resizing(config, processor), graph, decisions)
    warnings = {"preprocess.resize": _resize_warning(config, processor, resizing)}
    if family(class_name) not in PROCESSORS:
        warnings["preprocess.mean"] = f"the image processor {class_name or 'of this export'} is read by its keys alone"
    source = f"{FILE} ({class_name})" if class_name else FILE
    return decide(source, _fields(config, processor, resizing), warnings)


def _fields(config: JsonObject, processor: Processor, resizing: _Resizing) -> dict[str, object]:
    mean, std = _normalisation(config, processor)
    flips = config.flag("do_flip_channel_order", processor.flips_channels)
    return {
        "preprocess.size": resizing.size,
        "preprocess.resize": resizing.resize,
        "preprocess.shortest_edge": resizing.edge,
        "preprocess.longest_edge": resizing.longest,
        "preprocess.interpolation": _interpolation(config, processor),
        "preprocess.color": Color.BGR if flips else Color.RGB,
        "preprocess.rescale_factor": _rescale(config),
        "preprocess.mean": mean,
        "preprocess.std": std,
        "preprocess.pad_value": _pad_value(config, mean) if resizing.resize is Resize.LONGEST_EDGE else 0,
    }


def _resizing(config: JsonObject, processor: Processor) -> _Resizing:
    """What the class would do to a picture of any size."""
    size = _size(config, processor)
    crop = _crop(config, processor)
    edge, longest = size.get("shortest_edge"), size.get("longest_edge")
    if not config.flag("do_resize", True):
        return _Resizing(Resize.STRETCH, crop, warning="do_resize is off: pictures of another size are stretched")
    if processor.crop_by_pct and edge:
        return _by_crop_pct(config, edge)
    if edge and longest:
        return _Resizing(Resize.BOUNDED, None, edge, longest)
    if edge:
        return _Resizing(Resize.SHORTEST_EDGE, crop, edge) if crop else _Resizing(Resize.BOUNDED, None, edge)
    if longest:
        return _Resizing(Resize.LONGEST_EDGE, (longest, longest))
    sides = size.get("height", 0), size.get("width", 0)
    if 0 in sides:
        config.refuse("size", "height and width, or shortest_edge")
    return _Resizing(Resize.STRETCH, crop, min(sides)) if crop else _Resizing(Resize.STRETCH, sides)


def _by_crop_pct(config: JsonObject, edge: int) -> _Resizing:
    if edge >= _STRETCH_FROM:
        return _Resizing(Resize.STRETCH, (edge, edge))
    crop_pct = config.number("crop_pct", _CROP_PCT)
    if not 0.1 <= crop_pct <= 1:
        config.refuse("crop_pct", "a number from 0.1 to 1")
    return _Resizing(Resize.SHORTEST_EDGE, (edge, edge), int(edge / crop_pct))


def _fit_graph(resizing: _Resizing, graph: OnnxGraph, decisions: Decisions) -> _Resizing:
    """The graph's static size stands; the way to it is kept as far as it can be."""
    size = decided(decisions, "preprocess.size")
    if not isinstance(size, list | tuple) or len(size) != 2 or tuple(size) == resizing.size:
        return resizing
    sides: Sides = (size[0], size[1])
    said = "the picture's own ratio" if resizing.size is None else f"{resizing.size[0]} x {resizing.size[1]}"
    warning = f"the graph takes {sides[0]} x {sides[1]}, {FILE} says {said}: the graph's size counts"
    if resizing.resize is Resize.BOUNDED:
        masked = any(i.name == "pixel_mask" for i in graph.inputs)
        return _Resizing(Resize.LONGEST_EDGE if masked else Resize.STRETCH, sides, warning=warning)
    edge = resizing.edge
    if edge and resizing.size:
        edge = max(min(sides), round(edge * min(sides) / min(resizing.size)))
    return _Resizing(resizing.resize, sides, edge, warning=warning)


def _resize_warning(config: JsonObject, processor: Processor, resizing: _Resizing) -> str:
    if resizing.resize is Resize.BOUNDED and processor.sides_in_multiples > 1:
        return f"this processor cuts both sides down to multiples of {processor.sides_in_multiples}, which is not done"
    if config.flag("do_pad") and config.nested("pad_size") is not None:
        return "pad_size is not followed: say preprocess.resize and preprocess.size in model.toml"
    return resizing.warning


def _size(config: JsonObject, processor: Processor) -> dict[str, int]:
    """In the words of today's files. Old ones have a bare number, or (height, width), and `max_size` beside it."""
    value = config.data.get("size")
    if value is None:
        return dict(processor.size)
    if isinstance(value, dict):
        names = ("height", "width", "shortest_edge", "longest_edge", "max_height", "max_width")
        sizes = {name: _pixels(config, value[name]) for name in names if value.get(name) is not None}
        if "max_height" in sizes and "max_width" in sizes:
            return {"longest_edge": min(sizes["max_height"], sizes["max_width"])}
        return sizes
    if isinstance(value, list) and len(value) == 2:
        return {"height": _pixels(config, value[0]), "width": _pixels(config, value[1])}
    edge = _pixels(config, value[0] if isinstance(value, list) and len(value) == 1 else value)
    if processor.square:
        return {"height": edge, "width": edge}
    longest = config.integer("max_size") or processor.size.get("longest_edge")
    return {"shortest_edge": edge} | ({"longest_edge": longest} if longest else {})


def _crop(config: JsonObject, processor: Processor) -> Sides | None:
    if processor.never_crops or not config.flag("do_center_crop", processor.crops):
        return None
    value = config.data.get("crop_size")
    if value is None:
        return (processor.crop, processor.crop) if processor.crop else None
    if isinstance(value, dict):
        if value.get("height") is None or value.get("width") is None:
            config.refuse("crop_size", "height and width")
        return _pixels(config, value["height"]), _pixels(config, value["width"])
    if isinstance(value, list) and len(value) == 2:
        return _pixels(config, value[0]), _pixels(config, value[1])
    edge = _pixels(config, value)
    return edge, edge


def _pixels(config: JsonObject, value: object) -> int:
    pixels = config.as_integer("size", value)
    return pixels if 0 < pixels <= 16_384 else config.refuse("size", "1 to 16384 pixels")


def _interpolation(config: JsonObject, processor: Processor) -> Interpolation:
    value = config.integer("resample")
    if value is None:
        return processor.interpolation
    return _PILLOW_RESAMPLING.get(value) or config.refuse("resample", "0, 1, 2 or 3, as Pillow numbers them")


def _rescale(config: JsonObject) -> float:
    return config.number("rescale_factor", 1 / _BYTE) if config.flag("do_rescale", True) else 1.0


def _normalisation(config: JsonObject, processor: Processor) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """As one step: EfficientNet's `rescale_offset` subtracts 1 first, `include_top` divides by std once more."""
    normalizes = config.flag("do_normalize", processor.normalizes)
    image_mean = config.numbers("image_mean", processor.mean)
    image_std = config.numbers("image_std", processor.std)
    mean, std = (image_mean, image_std) if normalizes else ((0.0,), (1.0,))
    if not processor.normalizes_twice:
        return mean, std
    if config.flag("rescale_offset"):
        mean = tuple(value + 1 for value in mean)
    if config.flag("include_top", True):
        std = tuple(value**2 for value in image_std) if normalizes else image_std
    return mean, std


def _pad_value(config: JsonObject, mean: tuple[float, ...]) -> int:
    """The byte that comes nearest to 0 after normalisation, where the processor pads."""
    grey = sum(mean) / len(mean) / max(_rescale(config), 1e-6) if mean else 0
    return round(min(max(grey, 0), _BYTE))
