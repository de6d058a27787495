"""Resolves label files.

`labels.txt` is the operator's: it comes before whatever an export says about itself. labels.json, synset.txt,
imagenet_class_index.json, *.names and selected_tags.csv come after that.
"""

import csv
from collections.abc import Callable, Mapping

from loaders.model_errors import ModelSpecError
from loaders.onnx.onnx_file import OnnxGraph
from loaders.repository.specs.decision import Decisions, decide, decided
from loaders.repository.specs.label_lists import MAX_LABELS, labels_of
from loaders.repository.specs.model_files import ModelFiles
from loaders.repository.specs.model_spec import Activation, Color, Interpolation, Resize, TaskName

Labels = tuple[str, ...]

_DARKNET_SUFFIX = ".names"
_TAGS = "selected_tags.csv"
_TAGS_THRESHOLD = 0.35  # of WD taggers, for general tags
_WHITE = 255


def resolve_own(files: ModelFiles, _: OnnxGraph, __: Decisions) -> Decisions:
    """Resolves the operator's `labels.txt`."""
    text = files.read_own(files.labels_file)
    labels = _split(files, files.labels_file, text) if text else ()
    return decide(files.labels_file, {"labels": labels or None})


def resolve(files: ModelFiles, _: OnnxGraph, decisions: Decisions) -> Decisions:
    if (tags := files.read_text(_TAGS)) is not None:
        return _tagger(_tag_names(files, tags), decisions)
    darknet = files.with_suffix(_DARKNET_SUFFIX)
    readers = {**_READERS, darknet: _lines} if darknet else _READERS
    named = ((file, read(files, file)) for file, read in readers.items())
    return next((decide(file, {"labels": labels}) for file, labels in named if labels), {})


def _lines(files: ModelFiles, file: str) -> Labels | None:
    text = files.read_text(file)
    return None if text is None else _split(files, file, text)


def _split(files: ModelFiles, file: str, text: str) -> Labels:
    """Splits at newlines only: a label may contain any other character. Empty lines at the end are ignored."""
    text = text.replace("\r\n", "\n").rstrip("\n")
    lines = text.split("\n") if text else []
    return _bounded(files, file, tuple(lines))


def _synset(files: ModelFiles, file: str) -> Labels | None:
    """Removes WordNet ids: "n01440764 tench, Tinca tinca"."""
    lines = _lines(files, file)
    return tuple(line.partition(" ")[2] or line for line in lines) if lines else None


def _json(files: ModelFiles, file: str) -> Labels | None:
    return labels_of(files.where(file), files.read_json(file))


def _class_index(files: ModelFiles, file: str) -> Labels | None:
    """Reads Keras' {"0": ["n01440764", "tench"]}."""
    data = files.read_json(file)
    if not isinstance(data, Mapping):
        return None
    names = {key: value[-1] if isinstance(value, list) and value else value for key, value in data.items()}
    return labels_of(files.where(file), names)


_READERS: dict[str, Callable[[ModelFiles, str], Labels | None]] = {
    "labels.json": _json,
    "synset.txt": _synset,
    "imagenet_class_index.json": _class_index,
    "classes.txt": _lines,
}


def _tag_names(files: ModelFiles, text: str) -> Labels:
    try:
        rows = list(csv.DictReader(text.splitlines()))
    except csv.Error as error:
        raise ModelSpecError(f"{files.where(_TAGS)} is not valid CSV: {error}") from error
    names = tuple(row.get("name") or "" for row in rows)
    if not any(names):
        raise ModelSpecError(f"{files.where(_TAGS)} has no column 'name'")
    return _bounded(files, _TAGS, names)


def _tagger(labels: Labels, decisions: Decisions) -> Decisions:
    """WD taggers give many labels a picture (categories 9, 0, 4: rating, general, character).

    Those from TensorFlow (NHWC) expect BGR of 0 to 255, bicubic on a white square; those from timm have a config.json,
    which wins.
    """
    fields: dict[str, object] = {
        "labels": labels,
        "task": TaskName.IMAGE_CLASSIFICATION,
        "activation": Activation.SIGMOID,
        "score_threshold": _TAGS_THRESHOLD,
    }
    if decided(decisions, "preprocess.layout") == "NHWC":
        fields |= {
            "preprocess.resize": Resize.LETTERBOX,
            "preprocess.pad_value": _WHITE,
            "preprocess.interpolation": Interpolation.BICUBIC,
            "preprocess.color": Color.BGR,
            "preprocess.rescale_factor": 1.0,
            "preprocess.mean": (0.0,),
            "preprocess.std": (1.0,),
        }
    return decide(_TAGS, fields)


def _bounded(files: ModelFiles, file: str, labels: Labels) -> Labels:
    if len(labels) > MAX_LABELS:
        raise ModelSpecError(f"{files.where(file)} has more than {MAX_LABELS} labels")
    return labels
