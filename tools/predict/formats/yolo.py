"""YOLO's text files: `labels/`, one file a picture, and the class names.

A line is a class id and numbers from 0 to 1 of the picture's width and height: centre and size of a box, and its
keypoints; the corners of a rotated box; or the outline of a mask. There are no scores, since trainers read none.
"""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO

from tools.predict.formats import masks
from tools.predict.journal import Record
from utils.files import replacing

CLASSES_FILE = "classes.txt"
_VISIBLE = "2"


def write(records: Iterable[Record], labels: Sequence[str], out: BinaryIO, folder: Path) -> None:
    """`out`: the names of the classes, one a line."""
    names = dict(enumerate(labels))
    taken: set[PurePosixPath] = set()
    for record in records:
        target = PurePosixPath(record["target"])
        path = target.with_suffix(".txt")
        if path in taken:  # of a picture with another suffix
            path = target.with_name(f"{target.name}.txt")
        taken.add(path)
        result = record["result"]
        lines = [line for one in result["predictions"] for line in _lines(one, result["image"])]
        file = folder / "labels" / path
        file.parent.mkdir(parents=True, exist_ok=True)
        with replacing(file, durable=False) as written:
            written.write("".join(f"{line}\n" for line in lines).encode())
        for prediction in result["predictions"]:
            names.setdefault(prediction["class_id"], prediction["label"])
    for class_id in range(max(names, default=-1) + 1):
        out.write(f"{names.get(class_id, f'class {class_id}')}\n".encode())


def _lines(prediction: dict[str, Any], image: dict[str, Any]) -> Iterator[str]:
    """A mask of several parts is a line for each."""
    size = image["width"], image["height"]
    class_id = prediction["class_id"]
    if mask := prediction.get("mask"):
        for outline in masks.polygons(masks.decode(mask)):
            yield f"{class_id} {_numbers(outline.tolist(), size)}"
        return
    if corners := prediction.get("corners"):
        yield f"{class_id} {_numbers(corners, size)}"
        return
    box = prediction["box"]
    centre = (box["xmin"] + box["xmax"]) / 2, (box["ymin"] + box["ymax"]) / 2
    line = f"{class_id} {_numbers([centre, (box['xmax'] - box['xmin'], box['ymax'] - box['ymin'])], size)}"
    points = [f"{_numbers([(point['x'], point['y'])], size)} {_VISIBLE}" for point in prediction.get("keypoints", [])]
    yield " ".join([line, *points])


def _numbers(points: Iterable[Sequence[float]], size: tuple[int, int]) -> str:
    return " ".join(f"{value / side:.6f}" for point in points for value, side in zip(point, size, strict=True))
