"""Writes `hugging_face_processors.json`, which the service reads: the defaults of all image processors of transformers.

Needs a separate environment with requirements/golden.txt:

    python tests/loaders/repository/specs/make_processors.py
"""

import inspect
import json
import pkgutil
from importlib import import_module
from pathlib import Path
from typing import Any

TABLE = Path(__file__).parents[4] / "loaders" / "repository" / "specs" / "hugging_face_processors.json"

# Settings that decide what becomes of a picture.
KEYS = (
    "size", "crop_size", "pad_size", "resample", "image_mean", "image_std", "rescale_factor", "do_resize",
    "do_center_crop", "do_rescale", "do_normalize", "do_pad", "default_to_square", "do_flip_channel_order",
    "do_grayscale", "crop_pct", "rescale_offset", "include_top", "keep_aspect_ratio", "ensure_multiple_of",
    "size_divisor", "resize_short", "do_split_image", "do_image_splitting", "crop_to_patches",
)  # fmt: skip

# Methods that a class may have of its own, and that change a picture.
STEPS = (
    "resize", "center_crop", "rescale", "normalize", "rescale_and_normalize", "pad", "_preprocess", "_preprocess_image",
    "process_image",
)  # fmt: skip
SUFFIXES = ("ImageProcessor", "ImageProcessorFast", "ImageProcessorPil")


def main() -> None:
    import transformers  # type: ignore[import-not-found]  # not in the locks

    found = {name: _described(cls) for name, cls in sorted(_classes().items())}
    lines = ",\n".join(f"    {json.dumps(name)}: {json.dumps(entry)}" for name, entry in found.items())
    types = ",\n".join(f"    {json.dumps(kind)}: {json.dumps(name)}" for kind, name in sorted(_by_model_type(found)))
    TABLE.write_text(
        f'{{\n  "transformers": {json.dumps(transformers.__version__)},\n'
        f'  "processors": {{\n{lines}\n  }},\n  "model_types": {{\n{types}\n  }}\n}}\n',
        encoding="utf-8",
    )
    print(len(found), "image processors")  # noqa: T201 - a command


def _classes() -> dict[str, type]:
    """By name without "ImageProcessor": the class that is used if torchvision is installed."""
    models = import_module("transformers.models")
    found: dict[str, type] = {}
    for package in pkgutil.iter_modules(models.__path__):
        folder = Path(next(iter(models.__path__))) / package.name
        for file in sorted(folder.glob("image_processing_*.py"), key=lambda path: "_pil_" in path.name):
            module = import_module(f"transformers.models.{package.name}.{file.stem}")
            for name, cls in vars(module).items():
                family = _family(name)
                if inspect.isclass(cls) and cls.__module__ == module.__name__ and family not in ("", "Auto"):
                    found.setdefault(family, cls)
    return found


def _family(name: str) -> str:
    suffix = next((suffix for suffix in SUFFIXES if name.endswith(suffix)), None)
    return name.removesuffix(suffix) if suffix else ""


def _described(cls: type) -> dict[str, object]:
    try:
        settings: dict[str, object] = cls().to_dict()
    except (TypeError, ValueError, ImportError, OSError, AttributeError):
        settings = {}
    values: dict[str, object] = {}
    for key in KEYS:
        value = settings.get(key, getattr(cls, key, None))
        if value is not None:
            values[key] = _plain(value)
    if values.get("rescale_factor") == 1 / 255:
        del values["rescale_factor"]
    steps = [step for step in STEPS if any(step in vars(base) for base in _own_classes(cls))]
    return values | ({"steps": steps} if steps else {})


def _own_classes(cls: type) -> list[type]:
    return [base for base in cls.__mro__ if base.__module__.startswith("transformers.models.")]


def _plain(value: object) -> object:
    """Dictionaries without None, lists and numbers."""
    if hasattr(value, "keys") and hasattr(value, "__getitem__"):  # a SizeDict, for one
        return {key: value[key] for key in value.keys() if value[key] is not None}  # noqa: SIM118 - SizeDict
    if isinstance(value, tuple | list):
        return [_plain(one) for one in value]
    return value if isinstance(value, bool | float | str) else int(value)  # type: ignore[call-overload]  # an enum of ints


def _by_model_type(found: dict[str, Any]) -> list[tuple[str, str]]:
    names = import_module("transformers.models.auto.image_processing_auto").IMAGE_PROCESSOR_MAPPING_NAMES
    pairs = []
    for kind, classes in names.items():
        listed = [name for name in (classes.get("torchvision"), classes.get("pil")) if name]
        family = next((f for f in map(_family, listed) if f in found), None)
        if family:
            pairs.append((kind, family))
    return pairs


if __name__ == "__main__":
    main()
