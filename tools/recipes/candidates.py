"""The recipes that classifiers are trained with: values, colours, geometry and interpolation."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from loaders.repository.specs.model_spec import Color, Interpolation, PreprocessSpec, Resize

_SCALE = 1 / 255
Fields = Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Recipe:
    """`names`: of values, colour, size, geometry and interpolation, for people."""

    spec: PreprocessSpec
    names: tuple[str, ...]

    @property
    def is_padded(self) -> bool:
        return self.spec.resize is Resize.LETTERBOX

    def __str__(self) -> str:
        return ", ".join(self.names)


_BILINEAR = Interpolation.BILINEAR.value
_FIRST_CROP = 0.875
# Parts of the shortest edge that the crop keeps; the most common first, as everywhere here.
_CROPS = (_FIRST_CROP, 1.0, 0.95, 0.9)
# Sides that are tried if the graph takes any.
OPEN_SIZES = (224, 256, 299, 384, 448)

_CAFFE = "Caffe means"
_CAFFE_BGR = (103.939, 116.779, 123.68)
_VALUES: Mapping[str, Fields] = {
    "ImageNet mean and std": {"rescale_factor": _SCALE, "mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)},
    "-1..1": {"rescale_factor": _SCALE, "mean": (0.5,), "std": (0.5,)},
    "0..1": {"rescale_factor": _SCALE, "mean": (0.0,), "std": (1.0,)},
    "0..255": {"rescale_factor": 1.0, "mean": (0.0,), "std": (1.0,)},
    _CAFFE: {"rescale_factor": 1.0, "mean": _CAFFE_BGR, "std": (1.0,)},
    "CLIP mean and std": {
        "rescale_factor": _SCALE,
        "mean": (0.48145466, 0.4578275, 0.40821073),
        "std": (0.26862954, 0.26130258, 0.27577711),
    },
    "(x - 127) / 128": {"rescale_factor": 1.0, "mean": (127.0,), "std": (128.0,)},
}


def value_recipes(base: PreprocessSpec) -> Iterator[Recipe]:
    """Every way to turn pixels into values, with the most common geometry and interpolation."""
    size = _size(base)
    geometry_name, geometry = next(iter(_geometries(size).items()))
    colors = (Color.GRAY,) if base.color is Color.GRAY else (Color.RGB, Color.BGR)
    for name, values in _VALUES.items():
        for color in colors:
            if color is Color.GRAY and values["mean"] not in ((0.0,), (0.5,), (127.0,)):
                continue
            # Caffe's means are in the order of the channels
            mean = _CAFFE_BGR[::-1] if name == _CAFFE and color is Color.RGB else values["mean"]
            spec = base.model_copy(update={**geometry, **values, "mean": mean, "color": color})
            yield Recipe(spec, (name, color.value, _size_name(size), geometry_name, _BILINEAR))


def size_recipes(recipe: Recipe) -> Iterator[Recipe]:
    for side in OPEN_SIZES:
        name, geometry = next(iter(_geometries((side, side)).items()))
        spec = recipe.spec.model_copy(update={"size": (side, side), **geometry})
        yield Recipe(spec, (*recipe.names[:2], _size_name((side, side)), name, recipe.names[4]))


def geometry_recipes(recipe: Recipe) -> Iterator[Recipe]:
    for name, fields in _geometries(_size(recipe.spec)).items():
        yield Recipe(recipe.spec.model_copy(update=dict(fields)), (*recipe.names[:3], name, recipe.names[4]))


def interpolation_recipes(recipe: Recipe) -> Iterator[Recipe]:
    for interpolation in (
        Interpolation.BILINEAR,
        Interpolation.BICUBIC,
        Interpolation.LANCZOS,
        Interpolation.NEAREST,
    ):
        spec = recipe.spec.model_copy(update={"interpolation": interpolation})
        yield Recipe(spec, (*recipe.names[:4], interpolation.value))


def _geometries(size: tuple[int, int]) -> dict[str, Fields]:
    edge = min(size)
    crops: dict[str, Fields] = {
        f"shortest edge, crop {crop:g}": {"resize": Resize.SHORTEST_EDGE, "shortest_edge": round(edge / crop)}
        for crop in _CROPS
    }
    return crops | {
        "stretch": {"resize": Resize.STRETCH, "shortest_edge": None},
        f"stretch, crop {_FIRST_CROP:g}": {"resize": Resize.STRETCH, "shortest_edge": round(edge / _FIRST_CROP)},
        "letterbox, black": {"resize": Resize.LETTERBOX, "shortest_edge": None, "pad_value": 0},
        "letterbox, grey": {"resize": Resize.LETTERBOX, "shortest_edge": None, "pad_value": 114},
    }


def _size(spec: PreprocessSpec) -> tuple[int, int]:
    if spec.size is None:
        raise ValueError("a recipe needs a size")
    return spec.size


def _size_name(size: tuple[int, int]) -> str:
    return f"{size[0]} x {size[1]}"
