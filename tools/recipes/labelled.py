"""Reads labelled pictures: a folder with one folder per class, or a manifest in JSON or CSV.

    labelled/tabby/1.jpg         the folder's name is a label of the model, or a class's number
    labelled/manifest.json       a list of {"file": ..., "class_id" or "label": ..., "accept": [class ids]}
    labelled/manifest.csv        columns file and class_id or label

With `accept`, any of those classes is right.
"""

import csv
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from loaders.image_loader import create_image_loader
from loaders.images.base import Picture
from loaders.images.errors import ImageError
from loaders.images.formats import picture_files

MANIFESTS = ("manifest.json", "manifest.csv")


class LabelledPhotosError(Exception):
    """The labelled pictures cannot be used; the message says why."""


@dataclass(frozen=True, slots=True)
class LabelledPhoto:
    """`classes`: the ids that are right, at least one."""

    name: str
    picture: Picture
    classes: tuple[int, ...]


def read_photos(source: Path, labels: Sequence[str], classes: int) -> list[LabelledPhoto]:
    """`source`: a folder or a manifest. `labels` of the model may be empty. Raises LabelledPhotosError."""
    photos = [_photo(path, _class_ids(path, row, labels, classes)) for path, row in _rows(source)]
    if not photos:
        raise LabelledPhotosError(f"{source.name} has no labelled pictures; see python -m tools.find_recipe --help")
    return photos


def _rows(source: Path) -> Iterator[tuple[Path, Mapping[str, Any]]]:
    """Each picture with what is said about it."""
    if source.is_dir():
        manifest = next((source / name for name in MANIFESTS if (source / name).is_file()), None)
        if manifest is None:
            for folder in sorted(path for path in source.iterdir() if path.is_dir()):
                yield from ((path, {"label": folder.name}) for path in picture_files(folder))
            return
        source = manifest
    try:
        text = source.read_text(encoding="utf-8-sig")
        rows = list(csv.DictReader(text.splitlines())) if source.suffix == ".csv" else json.loads(text)
        yield from ((source.parent / row["file"], row) for row in rows)
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise LabelledPhotosError(
            f"{source.name} must be a list of pictures with file and class_id or label"
        ) from error


def _class_ids(path: Path, row: Mapping[str, Any], labels: Sequence[str], classes: int) -> tuple[int, ...]:
    given = row.get("accept") or [row["class_id"] if row.get("class_id") not in (None, "") else row.get("label")]
    found = tuple(dict.fromkeys(_class_id(value, labels) for value in given))
    if None in found or not all(0 <= class_id < classes for class_id in found if class_id is not None):
        names = "its labels" if labels else f"a number below {classes} (it has no labels)"
        raise LabelledPhotosError(f"{path.name}: {given[0]!r} is not a class of the model; expected one of {names}")
    return tuple(class_id for class_id in found if class_id is not None)


def _class_id(value: object, labels: Sequence[str]) -> int | None:
    """A number, a label, or one of the names in a label such as "tabby, tabby cat"."""
    text = str(value).strip().lower()
    if text.isdigit():
        return int(text)
    lowered = [label.lower() for label in labels]
    if text in lowered:
        return lowered.index(text)
    named = [i for i, label in enumerate(lowered) if text in [name.strip() for name in label.split(",")]]
    return named[0] if len(named) == 1 else None


def _photo(path: Path, classes: tuple[int, ...]) -> LabelledPhoto:
    try:
        return LabelledPhoto(path.name, create_image_loader("opencv").load(path.read_bytes()), classes)
    except (ImageError, OSError) as error:
        raise LabelledPhotosError(f"{path.name}: {error}") from error
