"""The image processors of Hugging Face transformers: what a file says, completed by the defaults of its class.

`hugging_face_processors.json` has the defaults of every class, and the class of every model type. It is written by
tests/loaders/repository/specs/make_processors.py. (EfficientNet resized with nearest in transformers 4; its exports
have the key.)
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from re import sub

from loaders.repository.specs.json_object import JsonObject
from loaders.repository.specs.model_files import ModelFiles

_TABLE = Path(__file__).with_name("hugging_face_processors.json")
_CONFIG, _PREPROCESSOR, _PROCESSOR = "config.json", "preprocessor_config.json", "processor_config.json"
_NESTED = "image_processor"
_CLASS_KEYS = ("image_processor_type", "feature_extractor_type")
_USUAL_KEYS = ("size", "image_mean", "do_resize", *_CLASS_KEYS)
_DECISIVE_KEYS = ("size", "resample", "image_mean", "image_std")
_UNKNOWN = "ViT"  # whose defaults are assumed for an unknown class


@dataclass(frozen=True, slots=True)
class ImageProcessor:
    """`family`: the class without "ImageProcessor" ("ViT"). `settings`: of the file, and the defaults of the class.

    `class_name` is empty if the file names none; `known`: whether the table has the class; `steps`: methods of the
    class itself, as "resize"; `left_out`: what the file does not record.
    """

    file: str
    class_name: str
    family: str
    settings: JsonObject
    known: bool
    steps: tuple[str, ...]
    left_out: tuple[str, ...]


def find_processor_file(files: ModelFiles) -> tuple[str, JsonObject] | None:
    """Returns the file's name and its settings; transformers 5 writes those of a processor into another file."""
    nested = JsonObject(files.where(_PROCESSOR), files.read_object(_PROCESSOR) or {}).nested(_NESTED)
    if nested is not None:
        return _PROCESSOR, nested
    data = files.read_object(_PREPROCESSOR)
    return None if data is None else (_PREPROCESSOR, JsonObject(files.where(_PREPROCESSOR), data))


def read_processor(files: ModelFiles) -> ImageProcessor | None:
    """Returns None if there is no such file, or if it is another tool's."""
    found = find_processor_file(files)
    if found is None or not any(key in found[1].data for key in _USUAL_KEYS):
        return None
    file, config = found
    class_name = next((name for key in _CLASS_KEYS if (name := config.text(key))), "")
    processors: Mapping[str, Mapping[str, object]] = _table()["processors"]
    name = _family(class_name) if class_name else _family_of_model(files)
    defaults = processors.get(name, processors[_UNKNOWN])
    given = {key: value for key, value in config.data.items() if value is not None}
    steps = defaults.get("steps")
    return ImageProcessor(
        file=file,
        class_name=class_name,
        family=name,
        settings=JsonObject(config.where, {**defaults, **given}),
        known=name in processors,
        steps=tuple(steps) if isinstance(steps, list) else (),
        left_out=tuple(key for key in _DECISIVE_KEYS if key not in given),
    )


def _family(class_name: str) -> str:
    """Returns "ViT" for `ViTImageProcessorFast` and `ViTFeatureExtractor` (the old name)."""
    return sub(r"(ImageProcessor|FeatureExtractor)(Fast|Pil)?$", "", class_name)


def _family_of_model(files: ModelFiles) -> str:
    """As transformers' AutoImageProcessor does for a file without a class."""
    model_type = JsonObject(files.where(_CONFIG), files.read_object(_CONFIG) or {}).data.get("model_type")
    return str(_table()["model_types"].get(str(model_type), ""))


@cache
def _table() -> Mapping[str, Mapping[str, Mapping[str, object]]]:
    table: Mapping[str, Mapping[str, Mapping[str, object]]] = json.loads(_TABLE.read_text(encoding="utf-8"))
    return table
