"""How each image processor of Hugging Face transformers resizes, crops and pads."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from math import ceil

from loaders.repository.specs.json_object import JsonObject
from loaders.repository.specs.model_spec import Resize, Rounding

Sides = tuple[int, int]

_STRETCH_FROM = 384  # pixels: from this size on, ConvNeXT's processor stretches and does not crop
_MAX_OWN_SIZE = 4096  # pixels of the longer edge where a processor does not bound it
_MAX_RATIO = 4  # of a tensor's sides where a processor does not bound it
_LEVIT = 256 / 224
_VILT = 1333 / 800  # longest to shortest edge
_YOLOS_MULTIPLE = 16
_STRETCH_LINE = 'resize = "stretch" and size = [height, width]'


@dataclass(frozen=True, slots=True)
class Resizing:
    """Fields of the spec. `risk`: what may be wrong, empty if nothing; `line`: what to write then."""

    resize: Resize
    size: Sides | None = None
    resize_size: Sides | None = None
    shortest_edge: int | None = None
    longest_edge: int | None = None
    size_divisor: int | None = None
    size_rounding: Rounding = Rounding.DOWN
    resize_rounding: Rounding = Rounding.DOWN
    risk: str = ""
    line: str = _STRETCH_LINE


def resizing_of(family: str, config: JsonObject) -> Resizing:
    """For pictures of any size, and a graph that accepts any."""
    if config.data.get("steps") and not has_rule(family):
        return _unknown(config)
    return _RULES.get(family, _plain)(config)


def has_rule(family: str) -> bool:
    """Whether the steps that the class has of its own are known: by a rule, or because they leave pictures alone."""
    return family in _RULES or family in _PLAIN


def fit(resizing: Resizing, sides: Sides, file: str, *, masked: bool) -> Resizing:
    """Adapts the resizing to the static size of the graph; `masked`: an input says what is padding."""
    if sides == resizing.size:
        return resizing
    size = resizing.size
    recorded = "the picture's ratio" if size is None else f"{size[0]} x {size[1]}"
    risk = f"the graph's input is {sides[0]} x {sides[1]}, {file} has {recorded}; the graph's size is used"
    if resizing.resize in (Resize.BOUNDED, Resize.KEEP_ASPECT_RATIO):
        line = 'resize = "letterbox" or "longest-edge" if the graph was trained so'
        return Resizing(Resize.LONGEST_EDGE if masked else Resize.STRETCH, sides, risk=risk, line=line)
    if resizing.resize is Resize.STRETCH and resizing.resize_size is None:
        return replace(resizing, size=sides)
    edge, larger = resizing.shortest_edge, resizing.resize_size
    if edge and size:
        edge = max(min(sides), round(edge * min(sides) / min(size)))
    if larger and size:
        larger = round(larger[0] * sides[0] / size[0]), round(larger[1] * sides[1] / size[1])
    line = "shortest_edge" if edge else "resize_size"
    return replace(resizing, size=sides, shortest_edge=edge, resize_size=larger, risk=risk, line=f"{line} = ...")


def _plain(config: JsonObject) -> Resizing:
    """The steps that most processors share."""
    size, crop, padded = _size(config), _crop(config), _padded(config)
    edge, longest = size.get("shortest_edge"), size.get("longest_edge")
    if not config.flag("do_resize"):
        return _not_resized(crop)
    if edge and longest:
        return Resizing(Resize.BOUNDED, padded, shortest_edge=edge, longest_edge=longest)
    if edge:
        return _by_shortest_edge(edge, crop, padded)
    if longest:
        return Resizing(Resize.LONGEST_EDGE, padded or (longest, longest))
    box = size.get("max_height", 0), size.get("max_width", 0)
    if 0 not in box:
        return Resizing(Resize.LONGEST_EDGE, padded) if padded == box else _inside(box)
    return _stretched(config, size, crop)


def _by_shortest_edge(edge: int, crop: Sides | None, padded: Sides | None = None) -> Resizing:
    if crop:
        return Resizing(Resize.SHORTEST_EDGE, crop, shortest_edge=edge)
    return Resizing(Resize.BOUNDED, padded, shortest_edge=edge, longest_edge=_MAX_RATIO * edge)


def _unknown(config: JsonObject) -> Resizing:
    """`size` may mean anything, as a number of pixels in all."""
    value = config.data.get("size")
    keys = value.keys() if isinstance(value, dict) else ()
    return Resizing(Resize.STRETCH, _sides(config, "size") if {"height", "width"} <= set(keys) else None)


def _stretched(config: JsonObject, size: dict[str, int], crop: Sides | None) -> Resizing:
    sides = size.get("height", 0), size.get("width", 0)
    if 0 in sides:
        config.reject("size", "height and width, or shortest_edge")
    return Resizing(Resize.STRETCH, crop, resize_size=sides) if crop else Resizing(Resize.STRETCH, sides)


def _inside(box: Sides) -> Resizing:
    if box[0] == box[1]:
        return Resizing(Resize.BOUNDED, shortest_edge=box[0], longest_edge=box[0])
    risk = f"pictures are fitted into {box[0]} x {box[1]} and padded, where the processor does not pad"
    return Resizing(Resize.LONGEST_EDGE, box, risk=risk)


def _not_resized(crop: Sides | None) -> Resizing:
    if crop:
        return Resizing(Resize.STRETCH, crop, risk="do_resize is false: pictures of another size are stretched")
    risk = f"do_resize is false: pictures keep their own size, up to {_MAX_OWN_SIZE} pixels"
    return Resizing(Resize.BOUNDED, longest_edge=_MAX_OWN_SIZE, risk=risk)


def _convnext(config: JsonObject) -> Resizing:
    edge = _size(config).get("shortest_edge")
    if not edge or not config.flag("do_resize"):
        return _plain(config)
    if edge >= _STRETCH_FROM:
        return Resizing(Resize.STRETCH, (edge, edge))
    return Resizing(Resize.SHORTEST_EDGE, (edge, edge), shortest_edge=int(edge / _crop_pct(config)))


def _poolformer(config: JsonObject) -> Resizing:
    if not config.flag("do_resize"):
        return _plain(config)
    size, crop_pct, crop = _size(config), _crop_pct(config), _crop(config)
    sides = size.get("height", 0), size.get("width", 0)
    edge = size.get("shortest_edge") or (sides[0] if sides[0] == sides[1] else 0)
    if edge:
        return _by_shortest_edge(int(edge / crop_pct), crop)
    height, width = int(sides[0] / crop_pct), int(sides[1] / crop_pct)
    return _stretched(config, {"height": height, "width": width}, crop)


def _levit(config: JsonObject) -> Resizing:
    plain = _plain(config)
    return replace(plain, shortest_edge=int(_LEVIT * plain.shortest_edge)) if plain.shortest_edge else plain


def _dpt(config: JsonObject) -> Resizing:
    """Without the padding to multiples of `size_divisor`, which few configurations ask for."""
    size = _size(config)
    height, width = size.get("height", 0), size.get("width", 0)
    if not config.flag("do_resize") or 0 in (height, width):
        return _plain(config)
    multiple = max(1, round(config.number("ensure_multiple_of", 1)))
    risk = "do_pad with size_divisor is not supported: pictures are not padded"
    risk = risk if config.flag("do_pad") and config.number("size_divisor", 0) > 1 else ""
    if not config.flag("keep_aspect_ratio"):
        sides = _to_multiple(height, multiple), _to_multiple(width, multiple)
        return Resizing(Resize.STRETCH, sides, risk=risk)
    return Resizing(
        Resize.KEEP_ASPECT_RATIO,
        (height, width),
        longest_edge=_MAX_RATIO * max(height, width),
        size_divisor=multiple,
        size_rounding=Rounding.NEAREST,
        risk=risk,
    )


def _zoedepth(config: JsonObject) -> Resizing:
    risk = "this processor mirrors the picture at its borders and resizes with align_corners, which is not supported"
    return replace(_dpt(config), risk=f"{risk}: depth differs a little, most near the borders")


def _glpn(config: JsonObject) -> Resizing:
    divisor = _divisor(config)
    if not config.flag("do_resize"):
        return _plain(config)
    return Resizing(Resize.BOUNDED, longest_edge=_MAX_OWN_SIZE, size_divisor=divisor)


def _yolos(config: JsonObject) -> Resizing:
    plain = _plain(config)
    return replace(plain, size_divisor=_YOLOS_MULTIPLE) if plain.resize is Resize.BOUNDED else plain


def _in_multiples(config: JsonObject) -> Resizing:
    """Sides are rounded up to multiples: TextNet, MaskFormer and Mask2Former."""
    plain = _plain(config)
    if plain.resize is Resize.STRETCH and plain.size:
        height, width = (ceil(side / _divisor(config)) * _divisor(config) for side in plain.size)
        return replace(plain, size=(height, width))
    if plain.resize is not Resize.BOUNDED:
        return plain
    return replace(plain, size_divisor=_divisor(config), size_rounding=Rounding.UP)


def _vilt(config: JsonObject) -> Resizing:
    edge = _size(config).get("shortest_edge")
    if not edge or not config.flag("do_resize"):
        return _plain(config)
    return Resizing(
        Resize.BOUNDED,
        shortest_edge=edge,
        longest_edge=int(_VILT * edge),
        size_divisor=_divisor(config),
        resize_rounding=Rounding.NEAREST,
    )


def _bridgetower(config: JsonObject) -> Resizing:
    """The processor bounds the longer edge as ViLT's before it crops, which matters for very wide pictures only."""
    edge = _size(config).get("shortest_edge")
    if not edge or not config.flag("do_center_crop"):
        return _vilt(config)
    crop = config.nested("crop_size")
    side = (crop.integer("shortest_edge") if crop else None) or edge
    return Resizing(
        Resize.SHORTEST_EDGE, (side, side), shortest_edge=edge, risk="pictures wider than 5:3 are cropped otherwise"
    )


def _sam(config: JsonObject) -> Resizing:
    return replace(_plain(config), resize_rounding=Rounding.NEAREST)


def _pp_lcnet(config: JsonObject) -> Resizing:
    edge, crop = config.integer("resize_short"), _crop(config)
    if not edge or not crop or not config.flag("do_resize"):
        return _plain(config)
    return Resizing(Resize.SHORTEST_EDGE, crop, shortest_edge=edge, resize_rounding=Rounding.NEAREST)


def _perceiver(config: JsonObject) -> Resizing:
    """Cropping before resizing differs from the opposite at the borders of the crop."""
    plain, crop = _plain(JsonObject(config.where, {**config.data, "do_center_crop": False})), _crop(config)
    if not crop or not plain.size or not config.flag("do_resize"):
        return plain
    return Resizing(
        Resize.COVER,
        plain.size,
        resize_size=crop,
        risk="this processor crops before it resizes; here it is the opposite, which differs at the borders",
    )


def _eomt(config: JsonObject) -> Resizing:
    plain = _plain(config)
    if not config.flag("do_pad") or plain.resize is not Resize.BOUNDED or not plain.shortest_edge:
        return plain
    longest = plain.longest_edge or plain.shortest_edge
    return Resizing(Resize.LONGEST_EDGE, (longest, longest)) if longest == plain.shortest_edge else plain


def _owlv2(config: JsonObject) -> Resizing:
    plain = _plain(config)
    if not config.flag("do_pad") or plain.resize is not Resize.STRETCH or not plain.size:
        return plain
    risk = "this processor blurs and resizes with its own filter, which is not supported"
    return Resizing(Resize.LONGEST_EDGE, plain.size, risk=f"{risk}: the result differs a little")


def _never_cropped(config: JsonObject) -> Resizing:
    """Processors that ignore `do_center_crop`."""
    return _plain(JsonObject(config.where, {**config.data, "do_center_crop": False}))


def _size(config: JsonObject) -> dict[str, int]:
    """Returns `size` with today's keys. Old files have a number or (height, width), and `max_size`."""
    value = config.data.get("size")
    if value is None:
        return {}
    if isinstance(value, dict):
        names = ("height", "width", "shortest_edge", "longest_edge", "max_height", "max_width")
        return {name: _pixels(config, value[name]) for name in names if value.get(name) is not None}
    if isinstance(value, list) and len(value) == 2:
        return {"height": _pixels(config, value[0]), "width": _pixels(config, value[1])}
    edge = _pixels(config, value[0] if isinstance(value, list) and len(value) == 1 else value)
    if config.flag("default_to_square"):
        return {"height": edge, "width": edge}
    longest = config.integer("max_size")
    return {"shortest_edge": edge} | ({"longest_edge": longest} if longest else {})


def _crop(config: JsonObject) -> Sides | None:
    return _sides(config, "crop_size") if config.flag("do_center_crop") else None


def _padded(config: JsonObject) -> Sides | None:
    return _sides(config, "pad_size") if config.flag("do_pad") else None


def _sides(config: JsonObject, key: str) -> Sides | None:
    value = config.data.get(key)
    if value is None:
        return None
    if isinstance(value, dict):
        if value.get("height") is None or value.get("width") is None:
            config.reject(key, "height and width")
        return _pixels(config, value["height"]), _pixels(config, value["width"])
    if isinstance(value, list) and len(value) == 2:
        return _pixels(config, value[0]), _pixels(config, value[1])
    edge = _pixels(config, value)
    return edge, edge


def _pixels(config: JsonObject, value: object) -> int:
    pixels = config.as_integer("size", value)
    return pixels if 0 < pixels <= 16_384 else config.reject("size", "1 to 16384 pixels")


def _crop_pct(config: JsonObject) -> float:
    crop_pct = config.number("crop_pct", 1)
    return crop_pct if 0.1 <= crop_pct <= 1 else config.reject("crop_pct", "a number from 0.1 to 1")


def _divisor(config: JsonObject) -> int:
    divisor = config.integer("size_divisor") or 1
    return divisor if 0 < divisor <= 1024 else config.reject("size_divisor", "1 to 1024")


def _to_multiple(side: int, multiple: int) -> int:
    return max(1, round(side / multiple)) * multiple


_RULES: dict[str, Callable[[JsonObject], Resizing]] = {
    "BridgeTower": _bridgetower, "ConditionalDetr": _never_cropped, "ConvNext": _convnext, "DPT": _dpt,
    "DeformableDetr": _never_cropped, "Detr": _never_cropped, "Eomt": _eomt, "GLPN": _glpn,
    "GroundingDino": _never_cropped, "Levit": _levit, "Mask2Former": _in_multiples, "MaskFormer": _in_multiples,
    "OneFormer": _never_cropped, "Owlv2": _owlv2, "PPLCNet": _pp_lcnet, "Perceiver": _perceiver,
    "PoolFormer": _poolformer, "PromptDepthAnything": _dpt, "RTDetr": _never_cropped, "RfDetr": _never_cropped,
    "Sam": _sam, "Segformer": _never_cropped, "TextNet": _in_multiples, "Vilt": _vilt, "Yolos": _yolos,
    "ZoeDepth": _zoedepth,
}  # fmt: skip

# Classes with steps of their own that do nothing else to a picture: they prepare annotations, or change the order.
_PLAIN = frozenset({
    "Beit", "DINOv3ViT", "DepthPro", "EfficientNet", "Flava", "Gemma3", "GotOcr2", "LayoutLMv2", "LayoutLMv3",
    "MobileNetV2", "MobileViT", "Ovis2", "PPDocLayoutV2", "PPDocLayoutV3", "PPDocLayoutV4", "Sam2", "Sam3", "Sapiens2",
    "SegGpt", "SuperPoint", "VideoMAE",
})  # fmt: skip
